"""What a training starts with: a fresh S3D-G, an ImageNet network made 3-D, or a file of trained weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from examples.d3d.config import Network
from examples.d3d.networks import CHANNELS, s3dg, set_momentum, stream_of
from kdvideo import models
from kdvideo.training import step_seed

IMAGENET = "imagenet"
RANGE = (-1.0, 1.0)  # of the recipe's clips


def start(settings: Network, stream: str, num_classes: int, seed: int) -> models.Network:
    """Build the network with which a training starts: a fresh S3D-G, or trained weights with a fresh classifier.

    Raises:
        ImportError: the package of the ImageNet weights is not installed.
        ValueError: the file of weights, or the name of a frozen layer, does not fit.
    """
    if not settings.init:
        network = s3dg(settings, stream, num_classes, seed)
    else:
        torch.manual_seed(step_seed(seed, 0))
        if settings.init == IMAGENET:
            network = models.efficientnet_lite0(num_classes, in_channels=CHANNELS[stream], dropout=settings.dropout)
        else:
            network = from_file(Path(settings.init), stream, num_classes)
        if settings.fast_start:
            set_momentum(network)
    freeze(network, settings.frozen)
    return network


def from_file(path: Path, stream: str, num_classes: int) -> models.Network:
    """Read trained weights as the start of a network for a stream, with a fresh classifier.

    Raises:
        ValueError: they are of a flow network and are to see RGB, or were made for normalized clips.
    """
    network, info = models.checkpoints.load(path)
    if stream == "rgb" and stream_of(network, info) != "rgb":
        raise ValueError(f"{path} must hold an RGB network to start one, got one for flow")
    spec = network.input_spec
    if spec.mean or (spec.value_range != RANGE and not isinstance(network, models.Inception3D)):
        seen = f"{spec.value_range} and the mean {spec.mean}"
        raise ValueError(f"{path} must hold weights for clips in {RANGE} without a mean, got some for {seen}")
    if spec.value_range != RANGE:
        refeed(network, RANGE)
    network = models.resize_head(network, num_classes)
    return network if network.in_channels == CHANNELS[stream] else models.resize_stem(network, CHANNELS[stream])


@torch.no_grad()
def refeed(network: models.Network, value_range: Sequence[float]) -> None:
    """Make the first convolution, in place, give for values in another range what it gave for those of `input_spec`.

    The same but at the border, where padding then stands for another value. With x = a·y + b: W * x = aW * y + b ΣW,
    and the mean of the batch norm behind it takes the constant.
    """
    (low, high), (new_low, new_high) = network.input_spec.value_range, value_range
    scale = (high - low) / (new_high - new_low)
    stem = network.get_submodule("conv_1a")
    weight, mean = stem.get_parameter("conv.weight"), stem.get_buffer("bn.running_mean")
    mean.sub_((low - scale * new_low) * weight.sum((1, 2, 3, 4)))
    weight.mul_(scale)


def freeze(network: models.Network, layers: Sequence[str]) -> None:
    """Keep the weights of some layers, in place; the statistics of their batch norms still follow the clips.

    Raises:
        ValueError: the network has no such layer.
    """
    paths = [network.layer_names.get(layer, layer) for layer in layers]
    modules = dict(network.named_modules())
    if unknown := [path for path in paths if path not in modules]:
        raise ValueError(f"--network.frozen must name layers, of {list(network.layer_names)} or by path, got {unknown}")
    for path in paths:
        modules[path].requires_grad_(False)


def decisive(settings: Network) -> dict[str, Any]:
    """Return what of the settings decides a start: a file by its content; what is unset is left out."""
    found = {name: value for name, value in asdict(settings).items() if value or name not in ("init", "frozen")}
    if settings.init not in ("", IMAGENET):
        found["init"] = hashlib.sha256(Path(settings.init).read_bytes()).hexdigest()[:16]
    return found
