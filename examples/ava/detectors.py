"""A detector on a pretrained network, and its folder: backbone.safetensors and head.safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from examples.ava.config import Config
from examples.d3d.networks import CHANNELS
from kdvideo import detection, models
from kdvideo.files import write_atomic
from kdvideo.training import step_seed

BACKBONE, HEAD = "backbone.safetensors", "head.safetensors"
RESOLUTION = 14
"""Points a side of a box on which layers run: 4F has as many of 224 pixels, and 5A halves them as in pretraining."""


class Loaded(NamedTuple):
    """A trained detector, the actions of its scores as id -> name, and what it saw in training."""

    network: detection.Detector
    classes: dict[int, str]
    input: dict[str, Any]


def pretrained(weights: Path) -> tuple[models.Network, list[str]]:
    """Read a network that sees RGB, and its classes.

    Raises:
        ValueError: it sees something else.
    """
    network, info = models.checkpoints.load(weights)
    if network.in_channels != CHANNELS["rgb"]:
        raise ValueError(f"{weights} must hold a network for RGB, got one that sees {network.in_channels} channels")
    return network, info["classes"] or [str(k) for k in range(network.num_classes)]


def build(
    network: models.Network,
    layer: str,
    num_classes: int,
    *,
    box_layers: Sequence[str] = (),
    dropout: float = 0.0,
    seed: int = 0,
) -> detection.Detector:
    """Put a fresh head on a layer of a network, or behind others that run on the boxes.

    Raises:
        ValueError: no such layer.
    """
    probe = detection.Detector(network.eval(), layer, detection.RoIHead(1, 1), box_layers=box_layers)
    with torch.no_grad():
        feature = probe.features(torch.zeros(1, CHANNELS["rgb"], 16, 64, 64)).features["tapped"]
        for path in probe.box_layers:
            feature = network.get_submodule(path)(feature)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(step_seed(seed, 0))
        head = detection.RoIHead(feature.shape[1], num_classes, dropout=dropout, **_points(box_layers))
    return detection.Detector(network, layer, head, box_layers=box_layers)


def _points(box_layers: Sequence[str]) -> dict[str, int]:
    return {"resolution": RESOLUTION} if box_layers else {}


def backbone(detector: detection.Detector) -> models.Network:
    """Return the network under the head, which knows how it is to be fed."""
    assert isinstance(detector.backbone, models.Network)
    return detector.backbone


def set_training(detector: detection.Detector, *, frozen_statistics: bool) -> None:
    """Switch to training, with the statistics of batch norm as they are if that is asked for."""
    detector.train()
    if frozen_statistics:
        for module in detector.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.eval()


def save(detector: detection.Detector, folder: Path, config: Config, names: list[str], classes: dict[int, str]) -> None:
    """Write the folder; the head comes last, so that a folder with one is complete."""
    network = backbone(detector)
    models.checkpoints.save(network, folder / BACKBONE, classes=names, input_spec=network.input_spec.to_dict())
    seen = {name: getattr(config.input, name) for name in ("frames", "fps", "short_side", "crop")}
    about = {"layer": config.layer, "box_layers": config.box_layers, "classes": list(classes.items()), "input": seen}
    tensors = {name: value.detach().cpu().contiguous() for name, value in detector.head.state_dict().items()}
    write_atomic(folder / HEAD, safetensors.torch.save(tensors, {"detector": json.dumps(about)}))


def load(folder: Path) -> Loaded:
    """Read the detector of a folder, for evaluation.

    Raises:
        ValueError: no detector there, or one that is damaged.
    """
    if not (folder / HEAD).is_file():
        advice = "examples.ava.train prints the folder of one"
        raise ValueError(f"{folder} must hold a trained detector, got none: {advice}")
    try:
        with safe_open(folder / HEAD, "pt") as file:
            about = json.loads(file.metadata()["detector"])
        tensors = load_file(folder / HEAD)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / HEAD} must be a head that examples.ava.train wrote, got {error!r}") from error
    network, _ = pretrained(folder / BACKBONE)
    box_layers = about.get("box_layers", [])
    head = detection.RoIHead(tensors["classify.weight"].shape[1], len(about["classes"]), **_points(box_layers))
    head.load_state_dict(tensors)
    detector = detection.Detector(network, about["layer"], head, box_layers=box_layers).eval()
    return Loaded(detector, dict(about["classes"]), about["input"])
