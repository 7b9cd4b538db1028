"""The networks of the tables: how a training starts, and their files."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

import kdvideo as kd
from benchmarks.paper import predicted_flow
from benchmarks.paper.methods import Method
from benchmarks.paper.predicted_flow import FlowPredictor, PredictedFlowNetwork
from benchmarks.paper.training_log import Trainings
from examples.d3d import networks as recipe
from examples.d3d.config import Config
from examples.d3d.data import Clips
from examples.d3d.networks import CHANNELS, fast_start, save, set_momentum
from kdvideo import models
from kdvideo.training import step_seed

BACKBONES: dict[str, Callable[..., models.Inception3D]] = {
    "s3dg": models.s3dg,
    "nl_s3dg": partial(models.s3dg, non_local=models.NON_LOCAL),
    "i3d": models.i3d,
}
RANGE = (-1.0, 1.0)


@dataclass(frozen=True)
class Trained:
    """A trained network, what it sees, and its file; what is known of its training and of those it builds on."""

    path: Path
    network: models.Network
    stream: str
    trainings: Trainings = field(default_factory=dict, compare=False)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        return kd.cache.weights_fingerprint(self.network)


def load(path: Path, clips: Clips, *, stream: str | None = None) -> Trained:
    """Read a trained network that fits the clips, one of the predicted flow too.

    Raises:
        ValueError: as `examples.d3d.networks.load`.
    """
    config = _recorded_config(path)
    if config.get("architecture") not in ("flow_predictor", "predicted_flow"):
        return Trained(path, *recipe.load(path, clips, stream=stream))
    with torch.random.fork_rng(devices=[]):
        network = predicted_flow.build(config)
    return Trained(path, models.checkpoints.load(path, network.eval())[0], "rgb")


def given(path: Path) -> Trained:
    """Read trained weights from anywhere, whatever they were trained on."""
    network, info = models.checkpoints.load(path)
    return Trained(path, network, recipe.stream_of(network, info))


def _recorded_config(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            found: dict[str, Any] = json.loads((file.metadata() or {}).get("kdvideo", "{}")).get("config", {})
            return found
    except (SafetensorError, OSError):
        return {}  # what is wrong with it, or of what kind it is, models.checkpoints.load finds out


def start(
    method: Method,
    config: Config,
    num_classes: int,
    seed: int,
    temporal: Trained | None = None,
    predictor: Trained | None = None,
    weights: Trained | None = None,
) -> models.Network:
    """Make the network of a training before its first step: fresh, or of trained ones."""
    if predictor and temporal:
        assert isinstance(predictor.network, FlowPredictor)
        bound = config.input.flow_bound
        network: models.Network = PredictedFlowNetwork(predictor.network, temporal.network, bound=bound)
    else:
        network = build(method, config, num_classes, seed)
        if weights:
            fill(network, weights)
    if config.network.fast_start:
        set_momentum(network)
    return network


def build(method: Method, config: Config, num_classes: int, seed: int) -> models.Network:
    """Build a fresh network of the method's backbone; I3D keeps its published dropout."""
    torch.manual_seed(step_seed(seed, 0))
    options = {} if method.backbone == "i3d" else {"dropout": config.network.dropout}
    network = BACKBONES[method.backbone](
        num_classes,
        in_channels=CHANNELS[method.stream],
        depth_multiplier=config.network.depth_multiplier,
        **options,
    )
    if config.network.fast_start:
        fast_start(network)
    return FlowPredictor(network) if method.predicted_flow else network


def fill(network: models.Network, trained: Trained) -> None:
    """Take over all trained weights but those of the classifier.

    Raises:
        ValueError: the trained network is built otherwise; the message names each difference.
    """
    have, wanted = _built_as(trained.network), _built_as(network)
    names = ["architecture"] if have["architecture"] != wanted["architecture"] else {**wanted, **have}
    unequal = [name for name in names if have.get(name) != wanted.get(name)]
    differ = [f"{name} {have.get(name)}, not {wanted.get(name)}" for name in unequal]
    if trained.network.input_spec.mean:
        differ.append("an input normalized by mean and std")
    if differ:
        raise ValueError(f"{trained.path} must hold the network of these settings to start it, got {'; '.join(differ)}")
    source = copy.deepcopy(trained.network)
    refeed(source, RANGE)
    network.load_state_dict(models.resize_head(source, network.num_classes).state_dict())


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


def _built_as(network: models.Network) -> dict[str, Any]:
    """What decides which weights there are besides the classifier's."""
    irrelevant = ("num_classes", "dropout", "input_range")
    config = {name: value for name, value in network.config.items() if name not in irrelevant}
    found: dict[str, Any] = json.loads(json.dumps(config))
    return found


__all__ = ["Trained", "build", "fill", "given", "load", "refeed", "save", "start"]
