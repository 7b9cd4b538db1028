"""Table 5's script: one value of it end to end, its record, and what it says where nothing was run."""

import dataclasses
from pathlib import Path

import pytest

from benchmarks import table5_ava
from benchmarks.tables.records import RecordFile
from benchmarks.tables.table import Measured
from examples.ava.train import make_accelerator
from examples.d3d.config import POCKET
from examples.d3d.methods import D3D, RGB
from kdvideo import detection
from tests.examples_ava.tiny import tiny


def test_a_value_is_the_frame_map_of_a_detector_on_the_method_s_network(
    videos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(table5_ava, "train_method", lambda config, method, *rest: asked.append(method) or weights)
    config = tiny(videos, tmp_path)
    for name in ("S3D-G", "D3D"):
        row = table5_ava.DETECTION.row(name)
        measured = table5_ava.measure(row, POCKET, 3, make_accelerator(config), detector=config)
    assert asked == [RGB, D3D]
    (found,) = tmp_path.glob("detectors/*/detections_val.csv")
    result = detection.frame_map(videos / "val.csv", found, videos / "actions.pbtxt")
    assert measured.value == 100 * result.mean
    assert measured.steps == 4
    assert measured.per_class == {name: 100 * value for name, value in result.per_class.items() if value == value}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, Path]]:
    """Measures in no time; holds what was asked for."""
    asked: list[tuple[str, int, Path]] = []

    def measure(row, config, seed, accelerator):
        asked.append((row.name, seed, config.work_dir))
        return Measured(20.0 + seed + (row.name == "D3D"), 400, {})

    monkeypatch.setattr(table5_ava, "DETECTION", dataclasses.replace(table5_ava.DETECTION, measure=measure))
    monkeypatch.setattr(table5_ava, "root", lambda config: config.work_dir)
    return asked


def command(tmp_path: Path, *more: str) -> str:
    table5_ava.main(["--results", str(tmp_path), "--work-dir", str(tmp_path / "work"), *more])
    return (tmp_path / "table5_pocket.md").read_text()


def test_nothing_is_claimed_where_nothing_was_run(tmp_path: Path) -> None:
    text = command(tmp_path, "--render")
    assert "| S3D-G | not run |  | 22.0 |" in text
    assert "| D3D | not run |  | 23.0 |" in text
    assert text.count("not run (the paper quotes it)") == 2
    assert not (tmp_path / "table5_pocket.json").exists()


def test_every_seed_is_measured_once(tmp_path: Path, fake: list[tuple[str, int, Path]]) -> None:
    command(tmp_path, "--seeds", "0", "1")
    assert sorted(fake) == sorted((name, seed, tmp_path / "work") for name in ("S3D-G", "D3D") for seed in (0, 1))
    text = command(tmp_path, "--seeds", "0", "1", "2")
    assert len(fake) == 6
    assert "| D3D | 22.0 ± 0.6 | 3 | 23.0 |" in text
    assert "synthetic localisation videos" in text
    assert "not on the data of the paper" in text


def test_values_of_another_detector_are_not_mixed(
    tmp_path: Path, fake: list[tuple[str, int, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, "--seeds", "0")
    monkeypatch.setattr(table5_ava, "DETECTOR", dataclasses.replace(table5_ava.DETECTOR, layer="3C"))
    with pytest.raises(SystemExit, match="measured with another detector"):
        command(tmp_path, "--seeds", "1")
    assert len(fake) == 2


def test_the_text_about_the_videos_is_true() -> None:
    from kdvideo.data.localisation import ACTIONS, VIDEOS

    keys = {split: 3 * count for split, count in VIDEOS.items()}
    said = table5_ava.POCKET.data["ava"].text
    assert f"({len(ACTIONS)} actions, {keys['train']} training and {keys['test']} test key frames)" in said


def test_other_scales_say_that_nothing_was_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for scale, expected in {"paper": "Nothing was trained", "bench": "not run"}.items():
        table5_ava.main(["--scale", scale, "--results", str(tmp_path)])
        assert expected in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert RecordFile(table5_ava.DETECTION, table5_ava.POCKET, tmp_path).read()["rows"] == {}
