"""The formats in which torchvision and kylemin/S3D store S3D."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kdvideo.models.checkpoints.weight_format import WeightFormat, by_ending
from kdvideo.models.inception.backbone import ORDER, Inception3D

LEAVES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
TORCHVISION_ENDINGS = {  # the more particular first
    r"\.spatial\.conv\.weight$": ".0.0.weight",
    r"\.temporal\.conv\.weight$": ".1.0.weight",
    r"\.conv\.weight$": ".0.weight",
    **{rf"\.spatial\.bn\.{leaf}$": f".0.1.{leaf}" for leaf in LEAVES},
    **{rf"\.temporal\.bn\.{leaf}$": f".1.1.{leaf}" for leaf in LEAVES},
    **{rf"\.bn\.{leaf}$": f".1.{leaf}" for leaf in LEAVES},
}
KYLEMIN_ENDINGS = {
    r"\.spatial\.conv\.weight$": ".conv_s.weight",
    r"\.temporal\.conv\.weight$": ".conv_t.weight",
    r"\.conv\.weight$": ".conv.weight",
    **{rf"\.spatial\.bn\.{leaf}$": f".bn_s.{leaf}" for leaf in LEAVES},
    **{rf"\.temporal\.bn\.{leaf}$": f".bn_t.{leaf}" for leaf in LEAVES},
    **{rf"\.bn\.{leaf}$": f".bn.{leaf}" for leaf in LEAVES},
}


def _module(path: str, *, lone: str) -> str:
    """Return the position in the sequence of layers, then of the branch; `lone` ends a branch of one convolution."""
    block, *rest = path.split(".")
    index = str(ORDER.index(block.rpartition("_")[2].upper()))
    if len(rest) < 2:
        return index
    branch, unit = rest[0].replace("_", ""), rest[1]
    position = lone if branch == "branch0" else f".{int(unit == 'conv_0b')}"
    return f"{index}.{branch}{position}"


def torchvision_name(key: str) -> str:
    """Return torchvision's name of a state dict key of S3D; the key itself where it has none."""
    if key.startswith("head.proj."):
        return key.replace("head.proj", "classifier.1")
    return by_ending(key, TORCHVISION_ENDINGS, lambda path: "features." + _module(path, lone=""))


def kylemin_name(key: str) -> str:
    """Return the name of a state dict key of S3D in kylemin/S3D; the key itself where it has none."""
    if key.startswith("head.proj."):
        return key.replace("head.proj", "fc.0")
    return by_ending(key, KYLEMIN_ENDINGS, lambda path: "base." + _module(path, lone=".0"))


def _kylemin_input(architecture: str, channels: int) -> dict[str, Any]:
    return {"input_range": (-1.0, 1.0), "mean": (), "std": ()}


TORCHVISION_S3D = WeightFormat("torchvision's S3D", r"features\.0\.0\.0\.weight$", torchvision_name)
KYLEMIN_S3D = WeightFormat("kylemin/S3D", r"base\.0\.conv_s\.weight$", kylemin_name, input_arguments=_kylemin_input)


def from_torchvision_s3d(weights: Mapping[str, Any], model: Inception3D) -> dict[str, Tensor]:
    """Convert an S3D of torchvision or of kylemin/S3D to the weights of `model`; neither argument is changed.

    The two store the same network under other names; which it is, the names say.

    Args:
        weights: its state dict, with or without a "module." in front.
        model: `s3d` of the same shape.

    Returns:
        The state dict of `model` with these weights, in its dtypes.

    Raises:
        ValueError: weights are missing, unexpected or of another shape; all of them are listed.

    Examples:
        >>> import torch
        >>> from kdvideo import models
        >>> from torchvision.models.video import s3d
        >>> with torch.device("meta"):
        ...     weights, model = s3d().state_dict(), models.s3d()
        >>> from_torchvision_s3d(weights, model)["head.proj.weight"].shape
        torch.Size([400, 1024])
    """
    bare = {name.removeprefix("module."): value for name, value in weights.items()}
    found = KYLEMIN_S3D if any(name.startswith("base.") for name in bare) else TORCHVISION_S3D
    return found.convert(bare, model)
