"""Table 5: one value of it end to end, and what its record and its plan say."""

import dataclasses
from pathlib import Path

import pytest
from examples.d3d.methods import D3D, RGB

from benchmarks.paper import table5_ava
from benchmarks.paper.tables import running
from benchmarks.paper.tables.records import RecordFile
from benchmarks.paper.tables.scales import SCALES
from benchmarks.paper.tables.table import Measured
from examples.ava.train import make_accelerator
from examples.d3d.config import POCKET
from kdvideo import detection
from tests.benchmarks.fakes import without_machine
from tests.examples_ava.tiny import tiny


def test_a_value_is_the_frame_map_of_a_detector_on_the_method_s_network(
    videos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(table5_ava, "train_method", lambda config, method, *rest: asked.append(method) or weights)
    config = tiny(videos, tmp_path)
    for name in ("S3D-G", "D3D"):
        row = table5_ava.TABLE.row(name)
        measured = table5_ava.measure(row, POCKET, 3, make_accelerator(config), detector=config)
    assert asked == [RGB, D3D]
    (found,) = tmp_path.glob("detectors/*/detections_val.csv")
    result = detection.frame_map(videos / "val.csv", found, videos / "actions.pbtxt")
    assert measured.value == 100 * result.mean
    assert measured.steps == 4
    assert measured.per_class == {name: 100 * value for name, value in result.per_class.items() if value == value}


def command(tmp_path: Path, table=table5_ava.TABLE, *more: str) -> str:
    running.main(table, None, ["--results", str(tmp_path), "--work-dir", str(tmp_path / "work"), *more])
    file = tmp_path / "table5_pocket.md"
    return file.read_text() if file.exists() else ""


def test_nothing_is_claimed_where_nothing_was_run(tmp_path: Path) -> None:
    text = command(tmp_path, table5_ava.TABLE, "--render")
    assert "| S3D-G | not run |  | 22.0 |" in text
    assert "| D3D | not run |  | 23.0 |" in text
    assert text.count("not run (the paper quotes it)") == 2
    assert not (tmp_path / "table5_pocket.json").exists()


def test_values_of_another_detector_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_machine(monkeypatch)
    table = dataclasses.replace(table5_ava.TABLE, measure=lambda *given: Measured(20.0, 400, {}))
    assert "20.0 (one seed" in command(tmp_path, table, "--seeds", "0")
    settings = table5_ava._settings(dataclasses.replace(table5_ava.DETECTOR, layer="3C"))
    with pytest.raises(SystemExit, match=r"other settings \(detector\.layer 4F, not 3C\)"):
        command(tmp_path, dataclasses.replace(table, settings=settings), "--seeds", "1")


def test_the_text_about_the_videos_is_true() -> None:
    from kdvideo.data.synthetic.localization import ACTIONS, VIDEOS

    keys = {split: 3 * count for split, count in VIDEOS.items()}
    said = SCALES["pocket"].data["ava"].text
    assert f"({len(ACTIONS)} actions, {keys['train']} training and {keys['test']} test key frames)" in said


def test_other_scales_say_that_nothing_was_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for scale, expected in {"paper": "examples.ava.train paper", "bench": "no clips at scale bench: not run"}.items():
        command(tmp_path, table5_ava.TABLE, "--scale", scale)
        assert expected in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert RecordFile(table5_ava.TABLE, SCALES["pocket"], tmp_path).read()["rows"] == {}
