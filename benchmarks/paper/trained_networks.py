"""The networks of the tables: how a training starts, and their files."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
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
from examples.d3d import starts
from examples.d3d.config import Config
from examples.d3d.data import Clips
from examples.d3d.networks import CHANNELS, fast_start, save, set_momentum
from examples.d3d.starts import IMAGENET, RANGE, refeed
from kdvideo import models
from kdvideo.training import step_seed

BACKBONES: dict[str, Callable[..., models.Inception3D]] = {
    "s3dg": models.s3dg,
    "nl_s3dg": partial(models.s3dg, non_local=models.NON_LOCAL),
    "i3d": models.i3d,
}


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
        if weights := weights or _given_start(config, method.stream):
            fill(network, weights)
    if config.network.fast_start:
        set_momentum(network)
    starts.freeze(network, config.network.frozen)
    return network


def _given_start(config: Config, stream: str) -> Trained | None:
    """Read the file of weights that the settings name, for the channels of a stream."""
    if config.network.init in ("", IMAGENET):
        return None
    found = given(Path(config.network.init))
    if found.network.in_channels == CHANNELS[stream]:
        return found
    return Trained(found.path, models.resize_stem(found.network, CHANNELS[stream]), stream)


def build(method: Method, config: Config, num_classes: int, seed: int) -> models.Network:
    """Build the network of the method's backbone, fresh or with the start of the settings; I3D keeps its dropout."""
    if config.network.init == IMAGENET:
        if method.backbone != "s3dg" or method.predicted_flow:
            raise ValueError(f"--network.init must be empty or a file of weights for {method.name}, got {IMAGENET!r}")
        return starts.start(config.network, method.stream, num_classes, seed)
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


def _built_as(network: models.Network) -> dict[str, Any]:
    """What decides which weights there are besides the classifier's."""
    irrelevant = ("num_classes", "dropout", "input_range")
    config = {name: value for name, value in network.config.items() if name not in irrelevant}
    found: dict[str, Any] = json.loads(json.dumps(config))
    return found


__all__ = ["Trained", "build", "fill", "given", "load", "refeed", "save", "start"]
