"""Loading of any file of weights: its format is recognized, the network built and filled."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor

from kdvideo.models.checkpoints.configuration import configuration
from kdvideo.models.checkpoints.native import describe, recorded_spec
from kdvideo.models.checkpoints.planning import build_for
from kdvideo.models.checkpoints.pytorch_i3d import PYTORCH_I3D
from kdvideo.models.checkpoints.pytorchvideo_hub import PYTORCHVIDEO
from kdvideo.models.checkpoints.sonnet import SONNET
from kdvideo.models.checkpoints.tf_checkpoint import drop_optimizer_state
from kdvideo.models.checkpoints.tf_slim import TF_SLIM
from kdvideo.models.checkpoints.torchvision_s3d import KYLEMIN_S3D, TORCHVISION_S3D
from kdvideo.models.checkpoints.weight_files import read_weights
from kdvideo.models.checkpoints.weight_format import WeightFormat
from kdvideo.models.network import Network

KDVIDEO = WeightFormat("kdvideo", r"conv_1a\.(spatial\.)?conv\.weight$", lambda key: key)
FORMATS = (KDVIDEO, TF_SLIM, SONNET, PYTORCH_I3D, TORCHVISION_S3D, KYLEMIN_S3D, PYTORCHVIDEO)


def load(
    path: str | Path,
    model: Network | None = None,
    *,
    device: str | torch.device = "cpu",
    input_range: tuple[float, float] | None = None,
) -> tuple[Network, dict[str, Any]]:
    """Load the network of a file of weights in any known format, and what the file says about it.

    | known formats | `input_range` |
    |---|---|
    | kdvideo (`save`, `save_pretrained`) | as recorded |
    | kdvideo, a bare state dict | the constructor's default |
    | TF-slim S3D-G and I3D | S3D-G for RGB (0, 1), as the published demo of D3D feeds it; else (-1, 1) |
    | DeepMind's I3D (Sonnet), pytorch-i3d | (-1, 1) |
    | torchvision's S3D | (0, 1), then torchvision's mean and std |
    | kylemin/S3D | (-1, 1), without mean and std |
    | pytorchvideo, only with `model` | (0, 1), then mean 0.45 and std 0.225 |

    They may lie in safetensors, in files of torch.save (also inside "state_dict", "model_state" ..., also with a
    "module." in front) or, where TensorFlow wrote them, in a checkpoint given by its prefix, its index file or its
    folder. Code in a file is never run. The optimizer's variables are left out (see `drop_optimizer_state`). Classes,
    channels, widths, kernels, gates and gammas are read off the shapes; dropout is not in a file of weights.

    Args:
        path: a file, a folder, or the prefix of a TensorFlow checkpoint.
        model: the network to fill, strictly and in place; its device and mode stay. Without it one is built. Networks
            that kdvideo does not build itself are loaded so.
        device: where a new network goes; it is in eval mode.
        input_range: the lowest and highest value that the weights are meant to see, where you know better.

    Returns:
        The network, with `input_spec` and `classes` as far as the file has them, and a dict with "format", "config",
        "classes" (None where the file does not name them), "input" (from the file, else the network's `input_spec`)
        and, for kdvideo's files, the strings of `extra`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, foreign, with code in it, or not the weights of this network; the file is named, and
            every missing, unexpected and mis-shaped weight is listed.

    Examples:
        >>> import tempfile
        >>> from kdvideo import models
        >>> path = tempfile.mkdtemp() + "/i3d.pt"
        >>> torch.save(models.i3d(5, in_channels=2, depth_multiplier=0.125, min_depth=8).state_dict(), path)
        >>> model, info = load(path)
        >>> info["format"], model.config["architecture"], model.num_classes, model.in_channels
        ('kdvideo', 'i3d', 5, 2)
    """
    low, high = input_range or (0.0, 1.0)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"input_range must be two finite numbers, the lower first, got {input_range}")
    tensors, metadata = read_weights(Path(path))
    tensors = drop_optimizer_state(tensors)
    try:
        if "kdvideo" in metadata:
            info, found, prefix = describe(metadata), KDVIDEO, ""
        else:
            found, prefix = (model and _own(tensors, model)) or recognize(tensors)
            info = {"classes": None, "input": None}
        if model is None:
            config = info.get("config") or _configuration(tensors, found, prefix)
            model = build_for(config, tensors, lambda plan: found.check(tensors, plan, prefix)).to(device).eval()
        state = found.convert(tensors, model, prefix)
        recorded = _input_of(found, model) if info["input"] is None else info["input"]
        given = {} if input_range is None else {"range": input_range}
        spec = recorded_spec(model.input_spec, {**recorded, **given})
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    model.load_state_dict(state)
    model.input_spec, model.classes = spec, tuple(info["classes"] or model.classes)
    _record(model)
    shown = spec.to_dict() if info["input"] is None else info["input"]
    if input_range is not None:
        shown = {**shown, "range": [low, high]}
    return model, {**info, "format": found.title, "config": model.config, "input": shown}


def _own(tensors: Mapping[str, Tensor], model: Network) -> tuple[WeightFormat, str] | None:
    """Return the format of the model itself, or of the library's network in it, where the names are of that."""
    first = next(iter(model.state_dict()))
    for known in (KDVIDEO, replace(PYTORCHVIDEO, title=str(model.config["architecture"]))):
        name = re.escape(known.rename(first))
        prefixes = replace(known, signature=f"{name}$").prefixes(tensors)
        if len(prefixes) == 1:
            return known, prefixes[0]
    return None


def recognize(tensors: Mapping[str, Tensor]) -> tuple[WeightFormat, str]:
    """Return the format of these names, and what stands in front of them."""
    ranks = {value.ndim for value in tensors.values()}
    if 4 in ranks and 5 not in ranks:
        raise ValueError("the weights must be of a video network, got 2-D convolutions: models.inflate makes them 3-D")
    for known in FORMATS:
        prefixes = known.prefixes(tensors)
        if len(prefixes) > 1:
            raise ValueError(f"the file must hold one network, got {prefixes}: convert the names of one with from_...")
        if prefixes:
            return known, prefixes[0]
    titles = ", ".join(known.title for known in FORMATS)
    raise ValueError(f"the names must be of a known format ({titles}), got names like {list(tensors)[:3]}")


def _configuration(tensors: Mapping[str, Tensor], found: WeightFormat, prefix: str) -> dict[str, Any]:
    if found is PYTORCHVIDEO:
        raise ValueError("the network of pytorchvideo's weights must be given: pass model=models.pytorchvideo(name)")

    def shape(key: str) -> Size | None:
        value = tensors.get(prefix + found.rename(key))
        return None if value is None else found.arrange(value, value.ndim).shape

    config = configuration(shape)
    return {**config, **found.input_arguments(config["architecture"], config["in_channels"])}


def _input_of(found: WeightFormat, model: Network) -> dict[str, Any]:
    """Return what the format says about the input of its weights, under the keys of kdvideo's files."""
    arguments = found.input_arguments(str(model.config["architecture"]), model.in_channels)
    return {key.removeprefix("input_"): value for key, value in arguments.items()}


def _record(model: Network) -> None:
    """Keep `config`, from which copies are built, in step with `input_spec`."""
    spec = model.input_spec
    known = {"input_range": spec.value_range, "mean": spec.mean, "std": spec.std}
    model.config.update({key: value for key, value in known.items() if key in model.config})
