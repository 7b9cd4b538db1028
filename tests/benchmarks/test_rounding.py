"""Pairs of runs that differ in rounding only."""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import record
from benchmarks.paper import rounding
from examples.d3d.config import POCKET

NAMES = {"S3D-G, RGB": "a", "S3D-G, Flow": "b", "D3D, RGB": "c"}


def one(value: float) -> dict[str, Any]:
    return {"top1": dict.fromkeys(rounding.ROWS, value), "trainings": NAMES, "cpu_capability": "AVX512"}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    table = {0: one(80.0), 7: one(84.0)}
    monkeypatch.setattr(rounding, "as_measured", lambda scale, seeds: {seed: table[seed] for seed in seeds})
    runs = {"AVX2": {0: one(83.0), 7: one(84.0)}, "2 threads": {0: one(80.0), 7: one(80.0)}}
    result: dict[str, Any] = json.loads(json.dumps(rounding.summary(runs, argparse.Namespace(scale="pocket"))))
    return result


def test_pairs_are_compared_with_the_run_of_their_own_seed(found: dict[str, Any]) -> None:
    row = found["rows"][3]
    assert row["method"] == "D3D, RGB"
    assert row["pairs"] == {"AVX2": {"0": 3.0, "7": 0.0}, "2 threads": {"0": 0.0, "7": -4.0}}
    assert row["root_mean_square"] == pytest.approx(2.5)  # sqrt((9 + 16) / 4)
    assert row["mean"] == 82
    assert row["seeds"] == pytest.approx(8**0.5)


def test_the_table_says_pairs_and_largest(found: dict[str, Any]) -> None:
    text = rounding.render(found)
    assert "root mean square of 4 pairs" in text
    assert "| D3D, RGB | 82.0 | 2.5 | 4.0 | 2.8 |" in text
    assert "(AVX2, 2 threads, against one thread with AVX512)" in text


def test_networks_of_another_rounding_lie_apart_and_share_clips_and_flow(tmp_path: Path) -> None:
    config = replace(POCKET, work_dir=tmp_path)
    other = rounding.shared(config, "2 threads")
    assert other.work_dir != rounding.shared(config, "AVX2").work_dir != tmp_path
    assert replace(other, work_dir=tmp_path) == config
    for name in ("synthetic", "flow"):
        assert os.readlink(other.work_dir / name) == str(tmp_path / name)
    assert not (other.work_dir / "trained").exists()


def test_the_pairs_are_with_the_record_of_table_2() -> None:
    """Fails when `as_measured` takes another seed's cell, or lets a missing one pass."""
    found = rounding.as_measured("pocket", [0, 1])
    table = json.loads((record.FOLDER / "table2_pocket.json").read_text())["rows"]
    for seed in (0, 1):
        assert found[seed]["top1"]["D3D, RGB"] == table["D3D, RGB"]["seeds"][str(seed)]["value"]
        assert found[seed]["trainings"]["S3D-G, Flow"] in table["D3D, RGB"]["seeds"][str(seed)]["trainings"]
    with pytest.raises(ValueError, match=r"must hold seed 99 of 'S3D-G, RGB', got none: first run"):
        rounding.as_measured("pocket", [99])


def test_other_settings_are_no_pair() -> None:
    """Fails when `check_settings` compares no name, or D3D's, which its own teacher decides."""
    run = one(80.0) | {"trainings": NAMES | {"D3D, RGB": "d"}}
    rounding.check_settings({"AVX2": {0: run}}, {0: one(80.0)})
    with pytest.raises(ValueError, match="S3D-G, Flow, AVX2, seed 0, was not trained with the settings of Table 2"):
        rounding.check_settings({"AVX2": {0: run}}, {0: one(80.0) | {"trainings": NAMES | {"S3D-G, Flow": "x"}}})
