"""Pairs of runs that differ in rounding only."""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.paper import rounding
from examples.d3d.config import POCKET


def runs(other: float) -> dict[str, dict[int, dict]]:
    def one(value: float) -> dict:
        return {"top1": dict.fromkeys(rounding.ROWS, value), "first_losses": {}, "cpu_capability": "AVX512"}

    return {
        rounding.AS_MEASURED: {0: one(80.0), 7: one(84.0)},
        "AVX2": {0: one(83.0), 7: one(84.0)},
        "2 threads": {0: one(80.0), 7: one(other)},
    }


def test_pairs_are_compared_with_the_run_of_their_own_seed() -> None:
    found = rounding.summary(runs(80.0), argparse.Namespace(scale="pocket"))
    row = found["rows"][3]
    assert row["method"] == "D3D"
    assert row["pairs"] == {"AVX2": {"0": 3.0, "7": 0.0}, "2 threads": {"0": 0.0, "7": -4.0}}
    assert row["root_mean_square"] == pytest.approx(2.5)  # sqrt((9 + 16) / 4)
    assert row["mean"] == 82
    assert row["seeds"] == pytest.approx(8**0.5)


def test_the_table_says_pairs_and_largest() -> None:
    found = json.loads(json.dumps(rounding.summary(runs(80.0), argparse.Namespace(scale="pocket"))))
    text = rounding.render(found)
    assert "root mean square of 4 pairs" in text
    assert "| D3D | 82.0 | 2.5 | 4.0 | 2.8 |" in text
    assert "(AVX2, 2 threads, against one thread with AVX512)" in text


def test_networks_of_another_rounding_lie_apart_and_share_clips_and_flow(tmp_path: Path) -> None:
    config = replace(POCKET, work_dir=tmp_path)
    assert rounding.shared(config, rounding.AS_MEASURED) == config
    other = rounding.shared(config, "2 threads")
    assert other.work_dir != rounding.shared(config, "AVX2").work_dir != tmp_path
    assert replace(other, work_dir=tmp_path) == config
    for name in ("synthetic", "flow"):
        assert os.readlink(other.work_dir / name) == str(tmp_path / name)
    assert not (other.work_dir / "trained").exists()
