"""A fresh network, its optimiser and the rate of every step."""

from __future__ import annotations

import torch
from torch import nn

from examples.d3d.config import Config, Optimizer
from kdvideo import models
from kdvideo.training import step_seed

CHANNELS = {"rgb": 3, "flow": 2}


def learning_rate(optimizer: Optimizer, step: int) -> float:
    """The rate of one step: linear in the batch, a linear rise, then a tenfold fall at each of ``decay_at``."""
    done = step / optimizer.steps
    rate = optimizer.lr * optimizer.batch_size / optimizer.reference_batch
    rise = min(1.0, (step + 1) / (optimizer.warmup * optimizer.steps)) if optimizer.warmup else 1.0
    return rate * rise * 0.1 ** sum(done >= at for at in optimizer.decay_at)


def build(config: Config, stream: str, num_classes: int, seed: int) -> nn.Module:
    """A fresh S3D-G for RGB or flow."""
    torch.manual_seed(step_seed(seed, 0))
    network = models.s3dg(
        num_classes,
        in_channels=CHANNELS[stream],
        depth_multiplier=config.network.depth_multiplier,
        dropout=config.network.dropout,
    )
    if config.network.fast_start:
        _start_fast(network)
    return network


def _start_fast(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.1
        elif isinstance(module, nn.Conv3d) and (module.bias is None or module.kernel_size[0] > 1):
            # Temporal convolutions too: started as the identity they are blind to motion for hundreds of steps.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def make_optimizer(network: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """SGD or AdamW, with weight decay on kernels only."""
    kernels = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
