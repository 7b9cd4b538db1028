"""Clips that cannot be read are all named, or left out, before anything is trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from accelerate import Accelerator

from examples.d3d import evaluate
from examples.d3d import run as recipe
from examples.d3d.checking import checked
from examples.d3d.data import Clips, open_clips
from kdvideo import data
from tests.examples.tiny import config, inside

BROKEN = ("train/horizontal", "train/spin", "test/spin")


@pytest.fixture
def damaged(clips: Path, tmp_path: Path) -> Path:
    copy = shutil.copytree(clips, tmp_path / "copy")
    for number, folder in enumerate(BROKEN):
        (copy / folder / "broken.mp4").write_bytes((b"", b"<html>404</html>")[number % 2])
    return copy


def opened(clips: Path, work: Path, *more: str) -> Clips:
    settings = config(clips, work, *more)
    return checked(open_clips(settings), settings, Accelerator(cpu=True))


@pytest.mark.faults
@pytest.mark.reliability("B7", "B8")
def test_all_are_named_before_anything_is_trained(damaged: Path, tmp_path: Path) -> None:
    """Fails when `main` does not call `checked`, or when `checked` looks at the training clips alone."""
    with pytest.raises(SystemExit) as stop:
        inside(recipe.main, damaged, tmp_path / "work")
    text = str(stop.value)
    assert "error: 2 of 10 train clips and 1 of 5 test clips cannot be read" in text
    for name, reason in (
        ("train: horizontal/broken.mp4", "the file is empty"),
        ("train: spin/broken.mp4", "not a video but text, beginning with '<html>404</html>'"),
        ("test: spin/broken.mp4", "the file is empty"),
    ):
        assert f"  {name}: {reason}" in text
    assert "--check-clips leave-out" in text
    assert not (tmp_path / "work/out").exists()
    assert not (tmp_path / "work/flow").exists()
    lines = (tmp_path / "work/unreadable/train.csv").read_text().splitlines()
    assert lines[:2] == ["clip,reason", "horizontal/broken.mp4,the file is empty"]
    assert lines == [lines[0], *sorted(lines[1:])]


@pytest.mark.faults
@pytest.mark.reliability("B7")
def test_evaluate_names_what_cannot_be_read(damaged: Path, tmp_path: Path) -> None:
    """Fails when `evaluate.main` does not call `checked`."""
    with pytest.raises(SystemExit, match="error: 2 of 10 train clips and 1 of 5 test clips cannot be read"):
        inside(evaluate.main, damaged, tmp_path / "work", "--weights", str(tmp_path / "none.safetensors"))


@pytest.mark.reliability("B7")
def test_they_are_left_out_where_asked(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fails when `_without` keeps what is unreadable, or when `_by_class` counts other clips."""
    kept = opened(damaged, tmp_path / "work", "--check-clips", "leave-out")
    assert (len(kept.train), len(kept.test), len(kept.classes)) == (8, 4, 2)
    assert not any("broken" in clip for clip in (*kept.train["clip"], *kept.test["clip"]))
    said = capsys.readouterr().out
    assert "2 of 10 train clips and 1 of 5 test clips cannot be read: left out, and listed in" in said
    assert said.splitlines()[-3:][0].endswith("; by class")
    assert said.splitlines()[-2:] == ["  horizontal: 1 of 5", "  spin: 1 of 5"]
    for folder in BROKEN:
        (damaged / folder / "broken.mp4").unlink()
    opened(damaged, tmp_path / "work", "--check-clips", "leave-out")
    assert not list((tmp_path / "work/unreadable").iterdir())


@pytest.mark.reliability("B7")
def test_training_clips_may_be_substituted_and_test_clips_never(damaged: Path, tmp_path: Path) -> None:
    """Fails when the share of `max_unreadable` is not compared, or also counts for test clips."""
    with pytest.raises(ValueError, match="test clips cannot be read"):
        opened(damaged, tmp_path / "work", "--max-unreadable", "1")
    (damaged / BROKEN[2] / "broken.mp4").unlink()
    assert len(opened(damaged, tmp_path / "work", "--max-unreadable", "0.2").train) == 10
    with pytest.raises(ValueError, match="2 of 10 train clips cannot be read"):
        opened(damaged, tmp_path / "work", "--max-unreadable", "0.19")
    assert len(opened(damaged, tmp_path / "work", "--check-clips", "no").train) == 10


@pytest.mark.reliability("B8")
def test_the_list_is_the_same_whatever_the_threads(damaged: Path) -> None:
    """Fails when `unreadable_clips` takes the reasons in the order in which its threads end."""
    manifest = data.from_folder(damaged / "train")
    found = [list(data.unreadable_clips(manifest, threads=threads).items()) for threads in (1, 5)]
    assert found[0] == found[1]
    assert [clip for clip, _ in found[0]] == ["horizontal/broken.mp4", "spin/broken.mp4"]
