"""The network with which a training starts, its optimiser and the rate of every step."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

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
    trained, _ = load(path)
    shown, wanted = _shown(trained), _shown(network)
    names = ["architecture"] if shown["architecture"] != wanted["architecture"] else {**wanted, **shown}
    differ = [
        f"{name} {shown.get(name)}, not {wanted.get(name)}" for name in names if shown.get(name) != wanted.get(name)
    ]
    if trained.input_spec.mean:
        differ.append("an input normalised by mean and std")
    if differ:
        raise ValueError(f"{path} cannot start the network of these settings: it has {'; '.join(differ)}")
    _feed(trained, RANGE)
    network.load_state_dict(models.resize_head(trained, network.num_classes).state_dict())


@torch.no_grad()
def _feed(network: models.Network, wanted: Sequence[float]) -> None:
    """Make the first convolution, in place, give for values in another range what it gave for those of `input_spec`.

    The same but at the border, where padding then stands for another value. With x = a·y + b: W * x = aW * y + b ΣW,
    and the mean of the batch norm behind it takes the constant.
    """
    (low, high), (new_low, new_high) = network.input_spec.value_range, wanted
    scale = (high - low) / (new_high - new_low)
    stem = network.get_submodule("conv_1a")
    weight, mean = stem.get_parameter("conv.weight"), stem.get_buffer("bn.running_mean")
    mean -= (low - scale * new_low) * weight.sum((1, 2, 3, 4))
    weight *= scale


def _shown(network: models.Network) -> dict[str, Any]:
    """What decides which weights there are besides the classifier's."""
    told_elsewhere = ("num_classes", "dropout", "input_range")
    config = {name: value for name, value in network.config.items() if name not in told_elsewhere}
    shown: dict[str, Any] = json.loads(json.dumps(config))
    return shown


def seen(network: models.Network, clip: Tensor) -> Tensor:
    """Clips in [-1, 1], as the recipe makes them, the way the network is to see them."""
    spec = network.input_spec
    low, high = spec.value_range
    if [low, high] != RANGE:
        clip = low + (clip + 1) * ((high - low) / 2)
    return spec.normalize(clip)


def stream(network: models.Network, info: Mapping[str, Any]) -> str:
    """What a network sees, "rgb" or "flow": by its file or, where that does not tell, by its channels.

    Raises:
        ValueError: it has another number of channels.
    """
    names = {channels: name for name, channels in CHANNELS.items()}
    if network.in_channels not in names:
        raise ValueError(f"the network sees {network.in_channels} channels; clips give 3 (RGB) or 2 (flow)")
    return str(info["input"].get("stream", names[network.in_channels]))


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
