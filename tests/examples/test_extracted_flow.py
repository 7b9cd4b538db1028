"""Flow that `kdvideo extract` wrote: read, checked before anything is trained, and never computed by a training."""

import json
import shlex
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from examples.d3d import extracted_flow, train_student
from examples.d3d import train_teacher as teacher
from examples.d3d.config import Config
from kdvideo import cli, extraction
from tests.examples.tiny import config, inside


@pytest.fixture
def extracted(clips: Path, tmp_path: Path) -> Path:
    """Both sides, by the lines that the recipe prints."""
    settings = config(clips, tmp_path)
    for side in ("train", "test"):
        words = shlex.split(extracted_flow.command(settings, side, tmp_path / "extracted"))
        assert words[:2] == ["kdvideo", "extract"]
        assert cli.main([*words[1:-1], "cpu", "--workers", "0"]) == 0
    return tmp_path / "extracted"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No flow can be computed."""
    monkeypatch.setattr(extraction, "extract", lambda *_, **__: pytest.fail("extracted"))
    monkeypatch.setattr("kdvideo.flow.TVL1Estimator.__call__", lambda *_, **__: pytest.fail("estimated"))


FEW = ("--optimizer.steps", "2")


def test_a_network_learns_the_same_from_it(clips: Path, extracted: Path, tmp_path: Path, monkeypatch) -> None:
    inside(teacher.main, clips, tmp_path / "stored", *FEW)
    monkeypatch.setattr(extraction, "extract", lambda *_, **__: pytest.fail("extracted"))
    inside(teacher.main, clips, tmp_path / "given", *FEW, "--flow-dir", str(extracted))
    assert not (tmp_path / "given" / "flow").exists()
    one, other = (load_file(tmp_path / name / "out/seed0/flow/model.safetensors") for name in ("stored", "given"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_cache_is_made_of_it(clips: Path, extracted: Path, tmp_path: Path, alone) -> None:
    cache = ("--flow-from", "cache", "--distinct-views", "1", "--flow-dir", str(extracted))
    inside(train_student.main, clips, tmp_path / "work", *FEW, *cache)
    assert list((tmp_path / "work" / "teacher").iterdir())


def refused(clips: Path, work: Path, folder: Path, *more: str) -> str:
    with pytest.raises(SystemExit) as stop:
        inside(teacher.main, clips, work, *FEW, "--flow-dir", str(folder), *more)
    assert not list(work.glob("out/seed*/*/*.safetensors"))
    return str(stop.value.code)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--input.short-side", "32"), "short_side 36, not 32"),
        (("--input.fps", "10"), "fps 12.5, not 10.0"),
        (("--input.flow-bound", "8"), "bound 5.0, not 8.0"),
        (("--flow-preset", "fast"), "estimator TVL1("),
    ],
)
def test_flow_of_other_settings_is_refused(clips: Path, extracted: Path, tmp_path: Path, alone, change, said) -> None:
    error = refused(clips, tmp_path / "work", extracted, *change)
    assert error.startswith(f"error: {extracted / 'train'} must hold flow as this run sees it, got ")
    assert said in error


@pytest.mark.parametrize("side", ["train", "test"])
def test_missing_clips_are_named_before_anything_is_trained(clips, extracted: Path, tmp_path, alone, side) -> None:
    first, second, *_ = sorted((extracted / side).rglob("*.flow.json"))
    first.unlink()
    second.write_text(json.dumps({"status": "failed", "reason": "broken"}))
    error = refused(clips, tmp_path / "work", extracted)
    assert f"{extracted / side} must hold the flow of all" in error
    assert "but 2 are missing or failed" in error
    assert all(str(path.relative_to(extracted / side))[: -len(".flow.json")] in error for path in (first, second))


def test_a_folder_without_flow_is_refused(clips: Path, extracted: Path, tmp_path: Path, alone) -> None:
    assert "must be a folder that `kdvideo extract` wrote" in refused(clips, tmp_path / "work", tmp_path / "none")
    (extracted / "train" / "extraction.json").write_text("{")
    assert "is damaged" in refused(clips, tmp_path / "work", extracted)
    with pytest.raises(ValueError, match="--flow-dir x goes with flow from a store or of its frames, not online"):
        Config(flow_dir=Path("x"), flow_from="online")


def test_the_line_of_a_list_with_a_root(tmp_path: Path) -> None:
    settings = config(tmp_path, tmp_path, "--root", "a root")
    line = extracted_flow.command(settings, "test", None)
    assert shlex.split(line)[2:6] == [str(tmp_path / "test"), "FLOW/test", "--root", "a root"]
