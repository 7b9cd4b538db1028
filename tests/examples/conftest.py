"""Fixtures shared by the tests of the recipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from kdvideo.data import synthetic
from tests.examples.tiny import CLASSES


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the child processes: sums over another number of threads round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips") / "tiny"
    counts = {"train": 4, "test": 2}
    return synthetic.write_dataset(root, clips_per_class=counts, classes=CLASSES, size=40, frames=20, seed=0)
