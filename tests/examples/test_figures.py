"""What the pictures of a report show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.text import Text

from examples.d3d import clip_pictures, figures
from examples.d3d.data import Clips, open_clips
from examples.d3d.style import COLORS, RIGHT, WRONG
from examples.d3d.train_teacher import NAMES
from kdvideo import flow
from kdvideo.training import StepLog
from tests.examples.tiny import config, lively_network

Drawn = list[Any]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """The figures instead of their files."""
    kept: Drawn = []
    for module in (figures, clip_pictures):
        monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure))
    return kept


def texts(figure: Any) -> list[str]:
    return [one.get_text() for one in figure.findobj(Text) if one.get_text()]


@pytest.fixture
def opened(clips: Path, tmp_path: Path) -> Clips:
    return open_clips(config(clips, tmp_path, "--flow-from", "online"))


def scores_of(opened: Clips, right: Callable[[str], bool]) -> dict[str, torch.Tensor]:
    label = torch.tensor(opened.test["label"])
    return {name: torch.eye(2)[label if right(name) else 1 - label] for name in NAMES.values()}


def test_the_flow_of_a_sheet_has_one_scale_and_its_wheel(
    opened: Clips, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when each picture, or the wheel, has a scale of its own: a field at rest would be full of color."""
    scales: list[float | None] = []
    to_image = flow.to_image

    def noted(field: torch.Tensor, *, max_magnitude: float | None = None) -> torch.Tensor:
        scales.append(max_magnitude)
        return to_image(field, max_magnitude=max_magnitude)

    monkeypatch.setattr(flow, "to_image", noted)
    clip_pictures.contact_sheet(opened, scores_of(opened, bool), Path("x"))
    assert len(scales) == 6 + 1
    assert len(set(scales)) == 1
    assert scales[0] is not None
    assert any(one.startswith("rim: ") and one.endswith("px a frame") for one in texts(drawn[0]))


def test_a_sheet_has_titles_and_says_who_is_right(opened: Clips, drawn: Drawn) -> None:
    """Fails when a column has no title, or a wrong guess looks like a right one."""
    clip_pictures.contact_sheet(opened, scores_of(opened, lambda name: name == "D3D"), Path("x"))
    shown = texts(drawn[0])
    assert {"frame, 0.00 s", *NAMES.values()} <= set(shown)
    assert shown.count("flow to the next") == 3
    guesses = [one for one in drawn[0].findobj(Text) if one.get_text()[:1] in "✓✗" and one.get_text()]
    marks = [(one.get_text()[0], one.get_color()) for one in guesses]
    assert (marks.count(RIGHT), marks.count(WRONG)) == (2, 4)  # two classes, three networks


def test_activations_show_what_distillation_gained(opened: Clips, drawn: Drawn) -> None:
    """Fails when before and after are exchanged, or other clips come first than those that only D3D gets right."""
    label = torch.tensor(opened.test["label"])
    scores = scores_of(opened, bool)
    gained = len(label) - 1
    scores["S3D-G RGB"][gained] = torch.eye(2)[1 - label[gained]]
    trained = {name: lively_network() for name in ("S3D-G RGB", "D3D")}
    clip_pictures.activations(opened, trained, scores, Path("x"), most=1)
    titles = [axis.get_title() for axis in drawn[0].axes]
    assert titles == ["frame", "flow", "before: S3D-G RGB", "after: D3D"]
    said = [axis.get_xlabel()[:1] for axis in drawn[0].axes[2:]]
    assert said == ["✗", "✓"]
    before, after = (axis.images[0].get_array() for axis in drawn[0].axes[2:])
    assert (before == after).all()  # of one network, on one scale


def result(top1: list[float]) -> dict[str, Any]:
    row = {"method": "D3D", "needs_flow": False, "top1": top1, "mean": sum(top1) / len(top1)}
    other = {"method": "S3D-G Flow", "needs_flow": True, "top1": top1, "mean": row["mean"]}
    return {"rows": [row, other], "clips": {"test": 100}, "seeds": list(range(len(top1)))}


@pytest.mark.parametrize(
    ("top1", "interval", "words"),
    [
        ([0.9], (0.8256, 0.9448), "by the choice of test clips alone, one seed"),  # Wilson, 90 of 100
        ([0.8, 0.9, 1.0], (0.6516, 1.1484), "of the mean over 3 seeds"),  # t(2) = 4.303, error 0.0577
    ],
)
def test_bars_have_the_interval_that_their_axis_names(
    top1: list[float], interval: tuple[float, float], words: str, drawn: Drawn
) -> None:
    """Fails when the interval is another, its words do not say which, or a bar lies about needing flow."""
    assert figures.interval(top1, 100) == pytest.approx(interval, abs=1e-4)
    figures.accuracies(result(top1), Path("x"))
    (axis,) = drawn[0].axes
    assert axis.get_xlabel().endswith(words)
    bars = [patch for patch in axis.patches if patch.get_width() > 0]
    assert [round(patch.get_width(), 1) for patch in bars] == [90.0, 90.0]
    assert [bool(patch.get_hatch()) for patch in bars] == [False, True]
    assert "90.0 %" in texts(drawn[0])


@pytest.mark.parametrize("measured", [False, True])
def test_curves_have_the_test_accuracy_where_it_was_measured(
    measured: bool, clips: Path, tmp_path: Path, drawn: Drawn
) -> None:
    """Fails when an empty axis is drawn, or the accuracy stands at another step."""
    settings = config(clips, tmp_path)
    log = StepLog(settings.folder(0, "rgb") / "log.jsonl")
    for step in range(8):
        log(step, {"action": 1.0} | ({"top1": 0.5} if measured and step % 4 == 3 else {}))
    figures.loss_curves(settings, Path("x"))
    assert len(drawn[0].axes) == 1 + measured
    if measured:
        (line,) = drawn[0].axes[1].lines
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([4, 8], [50.0, 50.0])
        assert line.get_color() == COLORS["rgb"]


def test_confusions_are_side_by_side(drawn: Drawn) -> None:
    """Fails when a matrix is transposed, or columns are normalized instead of rows."""
    figures.confusion({"S3D-G RGB": [[3, 1], [0, 2]], "D3D": [[4, 0], [0, 2]]}, ["spin", "orbit"], Path("x"))
    left, right = drawn[0].axes
    assert left.images[0].get_array().tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert (left.get_title(), right.get_title()) == ("S3D-G RGB on the test clips", "D3D on the test clips")
