"""Stored flow of another rate is refused: its fields would be paired with frames of another moment."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from kdvideo.data import PairedClips, from_folder
from kdvideo.flow import FlowStore, TSNFlow
from tests.data.videos import HEIGHT, WIDTH, write_video

FRAMES, RATE = 30, 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "clips/run").mkdir(parents=True)
    write_video(tmp_path / "clips/run/a.mp4", FRAMES, rate=RATE)
    return tmp_path


def read(root: Path, flow: Any, fps: float) -> dict[str, Any]:
    size = {"frames": 4, "short_side": HEIGHT, "crop": HEIGHT}
    return PairedClips(from_folder(root / "clips"), train=False, fps=fps, flow=flow, **size)[0]


def tsn(root: Path, count: int) -> TSNFlow:
    folder = root / "jpg/run/a"
    folder.mkdir(parents=True)
    for k in range(count):
        for name in "xy":
            Image.fromarray(np.full((HEIGHT, WIDTH), 128, np.uint8)).save(folder / f"flow_{name}_{k + 1:05d}.jpg")
    return TSNFlow(root / "jpg", bound=20)


@pytest.mark.faults
def test_pictures_of_flow_of_another_rate(root: Path) -> None:
    """Fails when the reader does not compare the count."""
    flow = tsn(root, FRAMES - 1)
    assert read(root, flow, RATE)["flow"].shape[1] == 4
    text = "must be 24 fields, for 25 frames at 25 fps, got 29; the file has 30 frames at its own rate: pass the fps of"
    with pytest.raises(ValueError, match=text):
        read(root, flow, 25)


@pytest.mark.faults
@pytest.mark.parametrize("count", [FRAMES - 2, FRAMES, 10])
def test_pictures_of_flow_of_another_count(root: Path, count: int) -> None:
    """Fails when `_check_count` lets more fields pass than there are frames."""
    with pytest.raises(ValueError, match=f"must be 29 fields, for 30 frames at 30 fps, got {count};.*compute the flow"):
        read(root, tsn(root, count), RATE)


@pytest.mark.faults
@pytest.mark.parametrize(("stored", "asked"), [(25.0, 12.5), (12.5, 25.0), (30.0, 25)])
def test_a_store_of_another_rate(root: Path, stored: float, asked: float) -> None:
    """Fails when `_check_rate` is left out: the mismatch is found at the first clip alone, or never."""
    with pytest.raises(ValueError, match=f"fps must be that of the stored flow, {stored:g}, got {asked:g}"):
        read(root, FlowStore(root / "flow", fps=stored), asked)


@pytest.mark.faults
def test_a_store_without_a_rate_is_counted(root: Path) -> None:
    """Fails when `_check_count` compares nothing."""
    store = FlowStore(root / "flow")
    store.write("run/a.mp4", torch.zeros(FRAMES - 1, 2, HEIGHT, WIDTH))
    assert read(root, store, RATE)["flow"].shape[1] == 4
    with pytest.raises(ValueError, match="got 29; the file has 30 frames"):
        read(root, store, 15)
