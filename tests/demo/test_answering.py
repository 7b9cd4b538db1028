"""What the page of `kdvideo demo` is made of, without the page."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kdvideo import data
from kdvideo.demo import answering, card, page
from kdvideo.demo.answering import Answer
from kdvideo.demo.worker import Worker
from kdvideo.predict import Predictor
from tests.demo.conftest import CLASSES


def test_names_are_what_tells_files_apart() -> None:
    same = ["a/rgb/model.safetensors", "b/rgb/model.safetensors"]
    assert list(answering.named(same)) == same


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return answering.sample_clips(tmp_path_factory.mktemp("samples"), CLASSES)


def test_samples_are_of_the_networks_classes_first(samples: dict[str, Path]) -> None:
    """Fails when the classes are not looked at: spin and orbit are neither the first two motions nor beside another."""
    assert sorted(list(samples)[:2]) == ["orbit", "spin"]
    assert len(samples) == 8
    assert {name.removesuffix(", gray") for name in samples if name.endswith(", gray")} == {"orbit", "spin"}


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_an_answer_is_the_prediction_with_its_pictures(
    stream: str, weights: dict[str, str], samples: dict[str, Path]
) -> None:
    """Fails when the page shows another window, other scores, or marks another class than the first."""
    predictor = Predictor(weights[stream])
    found = answering.answer(stream, predictor, samples["spin"])
    expected = predictor(samples["spin"])
    assert [name for name, _ in found.top] == [name for name, _ in expected]
    assert [share for _, share in found.top] == pytest.approx([share for _, share in expected], rel=1e-5)
    assert found.seen.shape == (8, 3, 44, 44)
    assert found.marked is not None
    assert found.marked.shape == found.seen.shape
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert ("reading and flow" in found.seconds) == (stream == "flow")


def test_limits_are_met_before_anything_is_decoded(
    tmp_path: Path, samples: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when a limit is left out."""
    answering.check_clip(samples["spin"])
    monkeypatch.setattr(answering, "MOST_SECONDS", 0.5)
    with pytest.raises(data.ClipError, match=r"at most 0\.5 s: cut it"):
        answering.check_clip(samples["spin"])
    monkeypatch.setattr(answering, "MOST_BYTES", 1000)
    with pytest.raises(data.ClipError, match="at most 0 MiB: cut it"):
        answering.check_clip(samples["spin"])


def test_a_child_that_takes_too_long_is_replaced(weights: dict[str, str], samples: dict[str, Path]) -> None:
    """Fails when the deadline is not set, or no new child is started after it."""
    worker = Worker({"rgb": weights["rgb"]}, 120.0)
    try:
        worker.deadline = 1e-4
        with pytest.raises(TimeoutError, match=r"took longer than 0\.0001 s"):
            worker(str(samples["spin"]))
        worker.deadline = 120.0
        assert [one.name for one in worker(str(samples["spin"]))] == ["rgb"]
    finally:
        worker.close()


def test_no_text_is_code() -> None:
    """Fails when a class name, or the name of a file, becomes a part of the page."""
    frames = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    shown = card.cards("a.mp4", [Answer("<b>net", "rgb", frames, frames, [(CLASSES[1], 0.5)], {"reading": 0.1})])
    assert "<b>net" not in shown
    assert "onerror" not in shown.replace("&lt;img src=x onerror=alert(1)&gt;", "")
    assert "<script>" not in card.problem("<script>.mp4: the file is empty")


def test_a_problem_names_the_file_and_not_the_servers_folder(tmp_path: Path) -> None:
    """Fails when the text has the folder in which the server keeps what was dropped."""

    def fail(clip: str) -> list[Answer]:
        raise data.ClipError(clip, "the file is empty")

    assert page.reply(fail, str(tmp_path / "my clip.mp4")).endswith('role="alert">my clip.mp4: the file is empty</div>')
