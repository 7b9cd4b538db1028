"""What the recipe's report says of the differences between its methods, and what comes next."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from examples.d3d import report

MEANS = {"S3D-G RGB": 0.60, "S3D-G Flow": 0.95, "S3D-G RGB+Flow": 0.9, "D3D": 0.61, "D3D+S3D-G RGB": 0.65}


def top1(seeds: int) -> dict[str, list[float]]:
    """Accuracies whose scatter grows with the method's place."""
    return {
        name: [mean + 0.002 * (k + 1) * ((7 * seed) % 5 - 2) for seed in range(seeds)]
        for k, (name, mean) in enumerate(MEANS.items())
    }


def sentences(seeds: int) -> list[str]:
    return [report._sentence(one, 1.5) for one in report.comparisons(top1(seeds))]


def test_networks_trained_apart_are_independent_and_an_ensemble_is_paired_with_its_member() -> None:
    found = report.comparisons(top1(4))
    assert [(one["first"], one["second"]) for one in found] == list(report.COMPARISONS)
    assert [one["paired"] for one in found] == [False, False, True]
    assert report._networks("D3D") & report._networks("S3D-G RGB+Flow") == {"S3D-G Flow"}


def test_a_verdict_is_holm_s_or_the_runs_that_it_needs() -> None:
    rgb, flow, both = sentences(4)
    assert "(Welch, 4 and 4 runs); 95 % interval" in rgb
    assert "D3D better: needs " in rgb
    assert "S3D-G Flow better: holds (p = " in flow
    assert flow.endswith(" after Holm's correction).")
    assert "(paired, 4 runs)" in both


def test_the_choice_of_clips_counts_where_methods_differ() -> None:
    label = torch.tensor([0, 0, 0, 1])
    right, wrong = torch.eye(2)[label], torch.eye(2)[1 - label]
    half = torch.cat([right[:2], wrong[2:]])  # D3D alone is right about the last two clips
    trained = report.Trained(0, {}, {"S3D-G RGB": half, "S3D-G Flow": half, "D3D": right})
    errors = report.clip_errors(trained, label)
    assert errors[0] == pytest.approx(100 * 0.5 / 2)  # differences 0, 0, 1, 1 scatter by 0.5, over 4 clips
    assert errors[1] == 0


def test_one_seed_has_no_spread() -> None:
    for sentence in sentences(1):
        assert sentence.endswith(
            "points, one seed, ± 2.9 by the choice of test clips alone (95 %); other seeds differ besides"
        )
        assert sentence.count("±") == 1
    assert all("needs a pilot of 3 runs" in sentence for sentence in sentences(2))


@pytest.mark.parametrize(
    ("seeds", "said"), [([3], "seed 3. Top-1 on the test clips, in per cent."), ([3, 4], "mean over the seeds ±")]
)
def test_a_table_of_one_seed_speaks_of_no_mean(seeds: list[int], said: str) -> None:
    row = {"needs_flow": False, "parameters": 1e6, "multiply_adds": 1e9, "standard_error": 0.01}
    accuracies = top1(len(seeds))
    rows = [row | {"method": name, "top1": values, "mean": values[0]} for name, values in accuracies.items()]
    cost = {"median": 1.0, "min": 1.0, "max": 1.0}
    result: dict[str, Any] = {
        "rows": rows,
        "comparisons": report.comparisons(accuracies),
        "clip_errors": [1.0] * len(report.COMPARISONS),
        "inference": dict.fromkeys(("control", "flow", "streams", "two_stream"), cost),
        "classes": ["spin"],
        "seeds": seeds,
        "clips": {"train": 1, "test": 1},
        "data": "synthetic",
    }
    text = report.table(result)
    assert said in text
    assert ("± 2.0 by the choice of test clips" in text) == ("mean over" not in text) == (len(seeds) == 1)


def test_the_file_is_json() -> None:
    """Fails when NaN, which JSON has not, is written as it is."""
    found = report._plain({"error": float("nan"), "rows": [(1.5, float("inf"))], "name": "D3D", "one": True})
    assert found == {"error": None, "rows": [[1.5, None]], "name": "D3D", "one": True}


def test_the_next_command_starts_from_this_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when the bare name is shown where no environment is active, as after `make demo`."""
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", "")
    assert report.command() == "bin/kdvideo"
    (tmp_path / "bin" / "kdvideo").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "kdvideo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert report.command() == "kdvideo"
