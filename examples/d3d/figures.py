"""The curves, bars and matrices of a report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from scipy import stats

from examples.d3d.config import Config
from examples.d3d.style import COLORS, save
from examples.d3d.train_teacher import NAMES
from kdvideo.training import StepLog

SHORT = {name: COLORS[network] for network, name in NAMES.items()}


def interval(top1: list[float], clips: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy in [0, 1]: Student's over the seeds; of one seed Wilson's over clips."""
    if len(top1) == 1:
        found = stats.binomtest(round(top1[0] * clips), clips).proportion_ci(method="wilson")
        return float(found.low), float(found.high)
    half = stats.t.ppf(0.975, len(top1) - 1) * stats.sem(top1)
    return float(np.mean(top1) - half), float(np.mean(top1) + half)


def accuracies(result: Mapping[str, Any], path: Path) -> None:
    """Draw top-1 of every method as a bar with its 95 % interval and a dot for each seed; hatched: needs flow."""
    rows, clips, seeds = result["rows"], result["clips"]["test"], len(result["seeds"])
    figure, axis = plt.subplots(figsize=(7, 0.6 * len(rows) + 1.2), layout="constrained")
    for k, row in enumerate(rows):
        low, high = (100 * end for end in interval(row["top1"], clips))
        mean, color = 100 * row["mean"], SHORT.get(row["method"], COLORS["both"])
        axis.barh(k, mean, color=color, alpha=0.75, hatch="//" if row["needs_flow"] else None, edgecolor="white")
        axis.errorbar(mean, k, xerr=[[max(0, mean - low)], [max(0, high - mean)]], color="black", capsize=4)
        axis.text(1, k, f"{mean:.1f} %", va="center", fontweight="bold", bbox={"facecolor": "white", "pad": 2})
        if seeds > 1:
            axis.plot([100 * value for value in row["top1"]], [k] * seeds, "o", color="black", markersize=3)
    axis.set_yticks(range(len(rows)), [row["method"] for row in rows])
    axis.invert_yaxis()
    what = f"of the mean over {seeds} seeds" if seeds > 1 else "by the choice of test clips alone, one seed"
    axis.set(xlim=(0, 100), xlabel=f"top-1 on {clips} test clips in %; line: 95 % interval {what}")
    axis.set_title("Accuracy by method (hatched: needs flow at inference)")
    save(figure, path)


def _smooth(values: list[float], window: int) -> Any:
    window = max(1, min(window, len(values) // 4))
    return np.convolve(values, np.ones(window) / window, mode="valid")


def loss_curves(config: Config, path: Path) -> None:
    """Draw the losses of the three networks, running means, and where it was measured their accuracy on test clips."""
    logs = {
        (seed, network): StepLog.read(file)
        for seed in config.seeds
        for network in NAMES
        if (file := config.folder(seed, network) / "log.jsonl").exists()  # not so of a teacher that was given
    }
    titles = {"action": "action loss (cross-entropy)", "distill": "distillation loss, λ · logit MSE"}
    titles |= {"top1": "top-1 on the test clips, %"}
    kinds = [kind for kind in titles if any(kind in row for rows in logs.values() for row in rows)]
    figure, axes = plt.subplots(1, len(kinds), figsize=(5.5 * len(kinds), 4), squeeze=False, layout="constrained")
    for axis, kind in zip(axes[0], kinds, strict=True):
        for (seed, network), rows in logs.items():
            label = NAMES[network] if seed == config.seeds[0] else None
            steps = [row["step"] + 1 for row in rows if kind in row]
            values = [row[kind] for row in rows if kind in row]
            if not values:
                continue
            if kind == "top1":
                axis.plot(steps, [100 * value for value in values], "o-", color=COLORS[network], label=label)
            else:
                axis.plot(_smooth(values, 20), color=COLORS[network], alpha=0.8, label=label)
        axis.set(title=titles[kind], xlabel="step", **({"yscale": "log"} if kind == "distill" else {}))
        axis.legend()
        axis.grid(alpha=0.3)
    save(figure, path)


def confusion(counts: Mapping[str, list[list[int]]], classes: list[str], path: Path) -> None:
    """Draw the confusion matrices of some networks over all seeds side by side, each row as shares of its class."""
    size = 2.5 + 0.55 * len(classes)
    figure, axes = plt.subplots(
        1, len(counts), figsize=(size * len(counts), size), squeeze=False, sharey=True, layout="constrained"
    )
    for axis, (name, rows) in zip(axes[0], counts.items(), strict=True):
        matrix = np.array(rows, dtype=float)
        share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axis.set_yticks(range(len(classes)), classes)
        axis.set(xlabel="predicted", title=f"{name} on the test clips")
        if len(classes) <= 20:
            for (i, j), value in np.ndenumerate(share):
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "black")
    axes[0, 0].set_ylabel("true")
    save(figure, path)
