"""The pictures of a report."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from examples.d3d import figures
from examples.d3d.data import open_clips
from examples.d3d.train_teacher import NAMES
from kdvideo import flow
from tests.examples.tiny import config


def test_the_flow_of_a_sheet_has_one_scale(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when each picture has a scale of its own: a field at rest would be full of colour."""
    scales: list[float | None] = []
    to_image = flow.to_image

    def noted(field: torch.Tensor, *, max_magnitude: float | None = None) -> torch.Tensor:
        scales.append(max_magnitude)
        return to_image(field, max_magnitude=max_magnitude)

    monkeypatch.setattr(flow, "to_image", noted)
    opened = open_clips(config(clips, tmp_path, "--flow-from", "online"))
    scores = {name: torch.zeros(len(opened.test), 2) for name in NAMES.values()}
    figures.contact_sheet(opened, scores, tmp_path / "clips.png")
    assert len(scales) == 6
    assert len(set(scales)) == 1
    assert scales[0] is not None
