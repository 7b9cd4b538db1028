"""A detector on a pretrained network, and its folder: backbone.safetensors and head.safetensors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from examples.ava.config import Config
from examples.d3d.networks import CHANNELS
from kdvideo import detection, models
from kdvideo.training import step_seed

BACKBONE, HEAD = "backbone.safetensors", "head.safetensors"


class Loaded(NamedTuple):
    """A trained detector, the actions of its scores as id -> name, and what it saw in training."""

    network: detection.Detector
    classes: dict[int, str]
    input: dict[str, Any]


def build(config: Config, weights: Path, num_classes: int, seed: int) -> detection.Detector:
    """A detector with a fresh head on the network of a file.

    Raises:
        ValueError: no such layer, or a network that does not see RGB.
    """
    network, _ = _pretrained(weights)
    if network.in_channels != CHANNELS["rgb"]:
        raise ValueError(f"{weights} sees {network.in_channels} channels; expected a network for RGB")
    channels = _channels(network, config.layer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step_seed(seed, 0))
        head = detection.RoIHead(channels, num_classes, dropout=config.dropout)
    return detection.Detector(network, config.layer, head)


def _pretrained(weights: Path) -> tuple[models.Network, list[str]]:
    """The network of a file, which knows what it is to be fed, and its classes."""
    network, info = models.checkpoints.load(weights)
    return network, info["classes"] or [str(k) for k in range(network.num_classes)]


def _channels(network: nn.Module, layer: str) -> int:
    """C of a layer's output, seen on an empty clip."""
    probe = detection.Detector(network.eval(), layer, detection.RoIHead(1, 1)).features
    with torch.no_grad():
        return int(probe(torch.zeros(1, CHANNELS["rgb"], 16, 64, 64)).features["tapped"].shape[1])


def input_spec(detector: detection.Detector) -> models.InputSpec:
    """How the network is to be fed."""
    assert isinstance(detector.backbone, models.Network)
    return detector.backbone.input_spec


def train_mode(detector: detection.Detector, config: Config) -> None:
    """Training, with the statistics of batch norm as they are if the settings say so."""
    detector.train()
    if config.frozen_statistics:
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eval()


def save(detector: detection.Detector, folder: Path, config: Config, weights: Path, classes: dict[int, str]) -> None:
    """Write the folder; the head comes last, so that a folder with one is complete."""
    network, names = _pretrained(weights)
    spec = network.input_spec.to_dict()
    models.checkpoints.save(detector.backbone, folder / BACKBONE, classes=names, input_spec=spec)
    seen = {name: getattr(config.input, name) for name in ("frames", "fps", "short_side", "crop")}
    about = {"layer": config.layer, "classes": list(classes.items()), "input": seen}
    tensors = {name: value.detach().cpu().contiguous() for name, value in detector.head.state_dict().items()}
    temporary = folder / f".{HEAD}.{os.getpid()}"
    save_file(tensors, temporary, metadata={"detector": json.dumps(about)})
    os.replace(temporary, folder / HEAD)


def load(folder: Path) -> Loaded:
    """The detector of a folder, for evaluation.

    Raises:
        ValueError: no detector there, or one that is damaged.
    """
    if not (folder / HEAD).is_file():
        raise ValueError(f"{folder}: no trained detector; examples.ava.train prints the folder of one")
    try:
        with safe_open(folder / HEAD, "pt") as file:
            about = json.loads(file.metadata()["detector"])
        tensors = load_file(folder / HEAD)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / HEAD}: damaged, or not written by examples.ava.train ({error})") from error
    network, _ = _pretrained(folder / BACKBONE)
    head = detection.RoIHead(tensors["classify.weight"].shape[1], len(about["classes"]))
    head.load_state_dict(tensors)
    detector = detection.Detector(network, about["layer"], head).eval()
    return Loaded(detector, dict(about["classes"]), about["input"])
