"""The record of UT-Interaction: rows, paired differences, and the table made of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import markdown, record
from benchmarks.paper import fold_statistics
from benchmarks.paper.fold_statistics import Folds
from examples.d3d.config import Config
from examples.d3d.significance import FEWEST
from kdvideo.training import environment

RULE = (
    "UT-Interaction: real video, 6 classes, 120 clips, 20 sequences; whole sequences are held out. Mean top-1 in "
    "percent with its 95 % interval. The unit is the fold: runs within one are averaged first, methods are compared by "
    "their difference in each fold, and the t interval over folds is widened for the training clips that folds share "
    "(Nadeau and Bengio 2003: variance times 1/J + n_test/n_train instead of 1/J); under "
    f"{FEWEST} folds there is none."
)
COMPARED = (
    *(("D3D", "RGB"), ("MARS", "RGB"), ("D3D", "MARS"), ("Flow", "RGB"), ("RGB+Flow", "Flow")),
    ("both + linear SVM", "HOG + linear SVM"),
    *(("S3D-G Flow", "S3D-G RGB"), ("D3D", "S3D-G RGB"), ("D3D+S3D-G RGB", "D3D")),  # as measured from scratch
)
REPORTED = (1, 2, 3, 4)
TITLES = {
    "imagenet": "From an ImageNet start (EfficientNet-lite0, inflated); settings chosen on fold 0, not reported",
    "hand_crafted": "Hand-crafted features and a linear SVM, on the same frames and folds (chance: 17)",
    "scratch": "From scratch (S3D-G, an earlier measurement on other folds)",
}


def summary(cells: Mapping[str, Folds], share: float, settings: Config, seeds: Sequence[int]) -> dict[str, Any]:
    """Compute means and paired differences over folds, with their intervals.

    Args:
        cells: method -> fold -> top-1 of each training.
        share: test clips of a fold divided by its training clips.
        settings: of the trainings.
        seeds: of the trainings.
    """
    return {
        **statistics(cells, share),
        "seeds": list(seeds),
        "data": "UT-Interaction, 120 clips, whole sequences left out",
        "config": _decisive(settings),
        "environment": environment("python -m benchmarks.paper.ut_interaction"),
    }


def measured(part: str, settings: Config, seeds: Sequence[int]) -> dict[str, dict[str, list[float]]]:
    """Return what the record holds of these settings and seeds: method -> fold -> top-1 of each training."""
    path = record.FOLDER / "ut_interaction.json"
    known = json.loads(path.read_text()).get(part) if path.exists() else None
    if not known or known["config"] != _decisive(settings) or known["seeds"] != list(seeds):
        return {}
    return {row["method"]: dict(row["top1"]) for row in known["rows"]}


def _decisive(settings: Config) -> dict[str, Any]:
    config = json.loads(json.dumps(dataclasses.asdict(settings), default=str))
    kept = ("input", "optimizer", "network", "distill_weight", "class_reduction", "mixed_precision")
    return {key: config[key] for key in kept}


def statistics(cells: Mapping[str, Folds], share: float) -> dict[str, Any]:
    """Compute the rows and differences of some methods."""
    rows = []
    for method, folds in cells.items():
        found = dataclasses.asdict(fold_statistics.over_folds(folds, test_share=share))
        rows.append({"method": method, "top1": folds, **found})
    differences = {
        f"{a} - {b}": dataclasses.asdict(fold_statistics.difference(cells[a], cells[b], test_share=share))
        for a, b in COMPARED
        if a in cells and b in cells
    }
    return {"rows": rows, "differences": differences, "test_share": share}


def render(result: dict[str, Any]) -> str:
    """Render the record; every number comes from it."""
    lines = [RULE, ""]
    for part, title in TITLES.items():
        if part in result:
            lines += [f"**{title}**", "", *_part(result[part]), ""]
    if "imagenet" in result:
        missing = [str(fold) for fold in REPORTED if f"fold {fold}" not in result["imagenet"]["rows"][0]["top1"]]
        lines += [f"From the ImageNet start, fold {', '.join(missing)}: not run.", ""] if missing else []
    return "\n".join(lines)


def _part(part: dict[str, Any]) -> list[str]:
    names = list(part["rows"][0]["top1"])
    cells = []
    for row in part["rows"]:
        each = " / ".join(f"{100 * sum(runs) / len(runs):.0f}" for runs in row["top1"].values())
        cells.append([row["method"], _interval(row), each])
    lines = [f"{len(names)} folds ({', '.join(names)}), {len(part['seeds'])} run(s) each.", ""]
    lines += [*markdown.table(["method", "top-1", "each fold"], cells), ""]
    lines += [f"- {name}: {_interval(one, '+')} points" for name, one in part["differences"].items()]
    return [*lines, "", _how(part["config"], part["environment"])]


def _how(config: dict[str, Any], where: dict[str, Any]) -> str:
    view, schedule = config["input"], config.get("optimizer")
    steps = f" {schedule['steps']} steps of {schedule['batch_size']} clips;" if schedule else ""
    capability = where.get("cpu_capability", "capability not recorded")
    return (
        f"*{view['frames']} frames at {view['fps']:g} fps, {view['crop']} pixels;{steps} "
        f"{where['hardware']}, {capability}, {where.get('threads', 1)} thread(s), "
        f"torch {where['versions']['torch']}; {where['date']}*"
    )


def _interval(found: dict[str, Any], sign: str = "") -> str:
    """Format a fraction in percent with the ends of its interval, which so few folds as two do not have."""
    if found["folds"] < FEWEST:
        return f"{100 * found['mean']:{sign}.1f} (too few folds for an interval)"
    mean, low, high = (100 * found[name] for name in ("mean", "low", "high"))
    return f"{mean:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})"
