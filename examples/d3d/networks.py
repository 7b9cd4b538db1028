"""Networks, their optimizer and learning rate, and what a file of weights must fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import kdvideo as kd
from examples.d3d.config import Network, Optimizer
from examples.d3d.data import Clips
from kdvideo import models
from kdvideo.training import step_seed

CHANNELS = {"rgb": 3, "flow": 2}


def fast_start(network: nn.Module) -> None:
    """Start a network so that it learns within hundreds of steps, instead of the published hundred thousand."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and (module.bias is None or module.kernel_size[0] > 1):
            # Temporal convolutions too: started as the identity they are blind to motion for hundreds of steps.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    set_momentum(network)


def set_momentum(network: nn.Module, momentum: float = 0.1) -> None:
    """Set the momentum of every batch norm; a file of weights does not hold it."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = momentum


def s3dg(settings: Network, stream: str, num_classes: int, seed: int) -> models.Network:
    """Build a fresh S3D-G for a stream, as a function of the seed alone."""
    torch.manual_seed(step_seed(seed, 0))
    network = models.s3dg(
        num_classes,
        in_channels=CHANNELS[stream],
        depth_multiplier=settings.depth_multiplier,
        dropout=settings.dropout,
    )
    if settings.fast_start:
        fast_start(network)
    return network


def learning_rate(optimizer: Optimizer) -> kd.schedules.Warmup | kd.schedules.Milestones:
    """The rate of every step: linear in the batch, a linear rise, then the optimizer's factors, tenfold falls."""
    rate = optimizer.lr * optimizer.batch_size / optimizer.reference_batch
    values = {math.ceil(at * optimizer.steps - 1e-9): rate * factor for at, factor in optimizer.factors.items()}
    schedule = kd.schedules.Milestones(rate, values)
    rise = optimizer.warmup * optimizer.steps
    return kd.schedules.Warmup(rise, then=schedule) if rise > 1 else schedule


def make_optimizer(network: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """Build SGD or AdamW over what learns, with weight decay on kernels only."""
    learning = [p for p in network.parameters() if p.requires_grad]
    kernels, others = ([p for p in learning if (p.dim() > 1) is kernel] for kernel in (True, False))
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, fused=True)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=True)


def feed(network: models.Network, clip: Tensor) -> Tensor:
    """Turn clips in [-1, 1], as the recipe makes them, into the input that a network's weights were made for."""
    spec = network.input_spec
    low, high = spec.value_range
    return spec.normalize(clip if (low, high) == (-1, 1) else low + (clip + 1) * ((high - low) / 2))


def stream_of(network: models.Network, info: Mapping[str, Any]) -> str:
    """What a network sees, "rgb" or "flow": by its file or, where that does not say, by its channels.

    Raises:
        ValueError: it has another number of channels.
    """
    names = {channels: name for name, channels in CHANNELS.items()}
    if network.in_channels not in names:
        raise ValueError(f"the network must see 3 channels (RGB) or 2 (flow), got {network.in_channels}")
    return str(info["input"].get("stream", names[network.in_channels]))


def load(path: Path, clips: Clips, *, stream: str | None = None) -> tuple[models.Network, str]:
    """Read a trained network that fits the clips, and its stream.

    Args:
        path: the file of weights.
        clips: the clips that it is to see.
        stream: the one that it must see, "rgb" or "flow"; None: any.

    Raises:
        ValueError: the file is damaged, names other classes, sees another stream, or learned from other flow than
            that of these clips.
    """
    network, info = models.checkpoints.load(path)
    found, wanted = stream_of(network, info), clips.seen("flow")
    if stream == "flow" or (stream is None and found == "flow"):
        recorded = info["input"]
        names = ("stream", "flow", "flow_bound", "fps", "short_side")
        differ = [f"{n} {recorded.get(n)}, not {wanted[n]}" for n in names if recorded.get(n) != wanted[n]]
        if differ:
            raise ValueError(f"{path} must have been trained on this run's flow, got {'; '.join(differ)}")
    elif stream and found != stream:
        raise ValueError(f"{path} must see {stream}, got a network for {found}")
    if info["classes"] is None:
        way = "write a file that does with `kdvideo convert --classes`"
        raise ValueError(f"{path} must name its classes, the clips have {clips.classes}: {way}")
    if info["classes"] != clips.classes:
        raise ValueError(f"{path} must know the classes of the clips, {clips.classes}, got {info['classes']}")
    return network, found


def save(network: models.Network, path: Path, clips: Clips, stream: str) -> None:
    """Write the bare network with its classes and what it was trained on."""
    seen = clips.seen(stream) | {"mean": [], "std": []}  # whatever the network's builder believes
    models.checkpoints.save(network, path, classes=clips.classes, input_spec=seen)
