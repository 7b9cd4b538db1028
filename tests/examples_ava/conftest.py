"""A tiny localisation set, a thin network's weights, and the settings that go with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdvideo import models
from kdvideo.data.synthetic import CLASSES, localization
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ava") / "set"
    return localization.write_dataset(root, videos={"train": 3, "val": 2}, size=48, seconds=3, fps=10, seed=1000)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "student.safetensors"
    torch.manual_seed(0)
    network = models.s3dg(len(CLASSES), depth_multiplier=0.125, min_depth=8)
    for module in network.modules():  # statistics that keep the features alive
        if isinstance(module, torch.nn.Conv3d):
            torch.nn.init.kaiming_normal_(module.weight)
    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(4, 3, 8, 48, 48))
    models.checkpoints.save(network, path, classes=CLASSES, input_spec={"stream": "rgb", "range": [-1.0, 1.0]})
    return path
