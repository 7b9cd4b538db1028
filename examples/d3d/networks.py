"""The network with which a training starts, its optimiser and the rate of every step."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from examples.d3d import predicted_flow
from examples.d3d.config import Config, Optimizer
from examples.d3d.methods import Method
from examples.d3d.predicted_flow import FlowPredictor, PredictedFlowNetwork
from examples.d3d.runs import Run
from kdvideo import models
from kdvideo.training import step_seed

CHANNELS = {"rgb": 3, "flow": 2}
BACKBONES: dict[str, Callable[..., models.Inception3D]] = {
    "s3dg": models.s3dg,
    "nl_s3dg": partial(models.s3dg, non_local=models.NON_LOCAL),
    "i3d": models.i3d,
}
RANGE = [-1.0, 1.0]


def learning_rate(optimizer: Optimizer, step: int) -> float:
    """The rate of one step: linear in the batch, a linear rise, then a tenfold fall at each of ``decay_at``."""
    done = step / optimizer.steps
    rate = optimizer.lr * optimizer.batch_size / optimizer.reference_batch
    rise = min(1.0, (step + 1) / (optimizer.warmup * optimizer.steps)) if optimizer.warmup else 1.0
    return rate * rise * 0.1 ** sum(done >= at for at in optimizer.decay_at)


def start(run: Run, num_classes: int) -> models.Network:
    """The network of a training before its first step: fresh, or made of trained ones."""
    config, method = run.config, run.method
    if run.predictor and run.teacher:
        predictor, temporal = load(run.predictor)[0], load(run.teacher)[0]
        assert isinstance(predictor, FlowPredictor)
        network: models.Network = PredictedFlowNetwork(predictor, temporal, bound=config.input.flow_bound)
    else:
        network = build(config, method, num_classes, run.seed)
        if config.init_from:
            _fill(network, config.init_from)
    if config.network.fast_start:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = 0.1
    return network


def build(config: Config, method: Method, num_classes: int, seed: int) -> models.Network:
    """A fresh network of the method's backbone; I3D keeps its published dropout."""
    torch.manual_seed(step_seed(seed, 0))
    options = {} if method.backbone == "i3d" else {"dropout": config.network.dropout}
    network = BACKBONES[method.backbone](
        num_classes,
        in_channels=CHANNELS[method.stream],
        depth_multiplier=config.network.depth_multiplier,
        **options,
    )
    if config.network.fast_start:
        _start_fast(network)
    return FlowPredictor(network) if method.predicted_flow else network


def _start_fast(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and (module.bias is None or module.kernel_size[0] > 1):
            # Temporal convolutions too: started as the identity they are blind to motion for hundreds of steps.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _fill(network: models.Network, path: Path) -> None:
    """Take over all weights of a file but those of its classifier."""
    trained, info = load(path)
    shown, wanted = _shown(trained), _shown(network)
    if shown != wanted or info["input"]["range"] != RANGE:
        raise ValueError(
            f"{path} holds {shown} for values in {info['input']['range']}, which cannot start {wanted} for {RANGE}"
        )
    network.load_state_dict(models.inflation.resize_head(trained, network.num_classes).state_dict())


def _shown(network: models.Network) -> dict[str, Any]:
    """What decides which weights there are besides the classifier's."""
    told_elsewhere = ("num_classes", "dropout", "input_range")
    config = {name: value for name, value in network.config.items() if name not in told_elsewhere}
    shown: dict[str, Any] = json.loads(json.dumps(config))
    return shown


def load(path: Path) -> tuple[models.Network, dict[str, Any]]:
    """The network in a file and what the file says of it; as `models.checkpoints.load`, with the recipe's own."""
    config = _recorded(path)
    if config.get("architecture") not in ("flow_predictor", "predicted_flow"):
        return models.checkpoints.load(path)
    with torch.random.fork_rng(devices=[]):
        network = predicted_flow.build(config)
    return models.checkpoints.load(path, network.eval())


def _recorded(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            recorded: dict[str, Any] = json.loads((file.metadata() or {}).get("kdvideo", "{}")).get("config", {})
            return recorded
    except (SafetensorError, OSError):
        return {}  # what is wrong with it, or of what kind it is, models.checkpoints.load finds out


def make_optimizer(network: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """SGD or AdamW, with weight decay on kernels only."""
    kernels = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
