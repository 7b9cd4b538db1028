"""Any file of weights as a network: the layout is recognised, the network built and filled."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Size, Tensor

from kdvideo.models.build import build
from kdvideo.models.checkpoints.configuration import configuration
from kdvideo.models.checkpoints.files import read_weights
from kdvideo.models.checkpoints.layout import Layout
from kdvideo.models.checkpoints.native import describe, specified
from kdvideo.models.checkpoints.pytorch_i3d import PYTORCH_I3D
from kdvideo.models.checkpoints.pytorchvideo_hub import PYTORCHVIDEO
from kdvideo.models.checkpoints.sonnet import SONNET
from kdvideo.models.checkpoints.tf_checkpoint import weights_only
from kdvideo.models.checkpoints.tf_slim import TF_SLIM
from kdvideo.models.checkpoints.torchvision_s3d import KYLEMIN_S3D, TORCHVISION_S3D
from kdvideo.models.network import Network

KDVIDEO = Layout("kdvideo", r"conv_1a\.(spatial\.)?conv\.weight$", lambda key: key)
LAYOUTS = (KDVIDEO, TF_SLIM, SONNET, PYTORCH_I3D, TORCHVISION_S3D, KYLEMIN_S3D, PYTORCHVIDEO)


def load(
    path: str | Path,
    model: Network | None = None,
    *,
    device: str | torch.device = "cpu",
    input_range: tuple[float, float] | None = None,
) -> tuple[Network, dict[str, Any]]:
    """The network of a file of weights, whoever wrote it, and what the file says about it.

    | known layouts | ``input_range`` |
    |---|---|
    | kdvideo (`save`, ``save_pretrained``) | as recorded |
    | kdvideo, a bare state dict | the constructor's default |
    | TF-slim S3D-G and I3D | S3D-G for RGB (0, 1), as the published demo of D3D feeds it; else (-1, 1) |
    | DeepMind's I3D (Sonnet), pytorch-i3d | (-1, 1) |
    | torchvision's S3D | (0, 1), then torchvision's mean and std |
    | kylemin/S3D | (-1, 1), without mean and std |
    | pytorchvideo, only with ``model`` | (0, 1), then mean 0.45 and std 0.225 |

    They may lie in safetensors, in files of torch.save (also inside ``state_dict``, ``model_state`` ..., also with a
    ``module.`` in front) or, where TensorFlow wrote them, in a checkpoint given by its prefix, its index file or its
    folder. Code in a file is never run. The optimiser's variables are left out (see `weights_only`). Classes,
    channels, widths, kernels, gates and gammas are read off the shapes; dropout is not in a file of weights.

    Args:
        path: a file, a folder, or the prefix of a TensorFlow checkpoint.
        model: the network to fill, strictly and in place; its device and mode stay. Without it one is built.
        device: where a new network goes; it is in eval mode.
        input_range: the lowest and highest value that the weights are meant to see, where you know better.

    Returns:
        The network, with ``input_spec`` and ``classes`` as far as the file tells them, and a dict with ``format``,
        ``config``, ``classes`` (None where the file does not name them), ``input`` (from the file, else the network's
        ``input_spec``) and, for kdvideo's files, the strings of ``extra``.

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
        raise ValueError(f"input_range={input_range}; expected two finite numbers, the lower first")
    tensors, metadata = read_weights(Path(path))
    tensors = weights_only(tensors)
    try:
        if "kdvideo" in metadata:
            info, layout, prefix = describe(metadata), KDVIDEO, ""
        else:
            layout, prefix = (model and _own(tensors, model)) or recognise(tensors)
            info = {"classes": None, "input": None}
        if model is None:
            model = build(info.get("config") or _configuration(tensors, layout, prefix)).to(device).eval()
        state = layout.convert(tensors, model, prefix)
        told = _told(info["input"], layout, model) | ({"range": input_range} if input_range else {})
        spec = specified(model.input_spec, told)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    model.load_state_dict(state)
    model.input_spec, model.classes = spec, tuple(info["classes"] or model.classes)
    _record(model)
    seen = json.loads(json.dumps(asdict(model.input_spec))) if info["input"] is None else info["input"]
    if input_range is not None:
        seen = {**seen, "range": [low, high]}
    return model, {**info, "format": layout.title, "config": model.config, "input": seen}


def _own(tensors: Mapping[str, Tensor], model: Network) -> tuple[Layout, str] | None:
    """The layout of the model itself, or of the library's network that it wraps, where the names are of that."""
    first = next(iter(model.state_dict()))
    for layout in (KDVIDEO, replace(PYTORCHVIDEO, title=str(model.config["architecture"]))):
        name = re.escape(layout.rename(first))
        prefixes = replace(layout, signature=f"{name}$").prefixes(tensors)
        if len(prefixes) == 1:
            return layout, prefixes[0]
    return None


def recognise(tensors: Mapping[str, Tensor]) -> tuple[Layout, str]:
    """The layout of these names, and what stands in front of them."""
    ranks = {value.ndim for value in tensors.values()}
    if 4 in ranks and 5 not in ranks:
        raise ValueError("weights of an image network (2-D convolutions); models.inflation turns them into 3-D ones")
    for layout in LAYOUTS:
        prefixes = layout.prefixes(tensors)
        if len(prefixes) > 1:
            raise ValueError(f"holds several networks, under {prefixes}; convert the names of one with from_...")
        if prefixes:
            return layout, prefixes[0]
    known = ", ".join(layout.title for layout in LAYOUTS)
    raise ValueError(f"an unknown layout, with names like {list(tensors)[:3]}; known are: {known}")


def _configuration(tensors: Mapping[str, Tensor], layout: Layout, prefix: str) -> dict[str, Any]:
    if layout is PYTORCHVIDEO:
        raise ValueError("weights of pytorchvideo do not tell their network: pass model=models.pytorchvideo(name)")

    def shape(key: str) -> Size | None:
        value = tensors.get(prefix + layout.rename(key))
        return None if value is None else layout.arrange(value, value.ndim).shape

    config = configuration(shape)
    return {**config, **layout.seen(config["architecture"], config["in_channels"])}


def _told(recorded: Any, layout: Layout, model: Network) -> dict[str, Any]:
    """What a file says, by itself or by its layout, about the input of its weights."""
    if recorded is not None:
        return dict(recorded)
    seen = layout.seen(str(model.config["architecture"]), model.in_channels)
    return {key.removeprefix("input_"): value for key, value in seen.items()}


def _record(model: Network) -> None:
    """Keep ``config``, from which copies are built, in step with ``input_spec``."""
    spec = model.input_spec
    known = {"input_range": spec.range, "mean": spec.mean, "std": spec.std}
    model.config.update({key: value for key, value in known.items() if key in model.config})
