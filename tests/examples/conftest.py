"""Fixtures shared by the tests of the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdvideo.data import synthetic
from tests.examples.tiny import CLASSES
from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips") / "tiny"
    counts = {"train": 4, "test": 2}
    return synthetic.write_dataset(root, clips_per_class=counts, classes=CLASSES, size=40, frames=20, seed=0)
