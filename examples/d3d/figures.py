"""The pictures of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import torch
from datasets import Dataset

from examples.d3d import clips
from examples.d3d.config import Config
from kdvideo import flow

if TYPE_CHECKING:
    from examples.d3d.run import Trained

matplotlib.use("Agg")
from matplotlib import pyplot as plt

SHOWN = ("S3D-G RGB", "S3D-G Flow", "D3D")


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _smooth(values: list[float], window: int) -> Any:
    window = max(1, min(window, len(values) // 4))
    return np.convolve(values, np.ones(window) / window, mode="valid")


def loss_curves(trained: list[Trained], path: Path) -> None:
    """Action loss of the three networks and the distillation loss, one line a seed, running mean."""
    figure, (action, distill) = plt.subplots(1, 2, figsize=(11, 4))
    for one in trained:
        for colour, (name, weights) in zip(("tab:blue", "tab:green", "tab:red"), one.weights.items(), strict=True):
            log = weights.with_name("log.jsonl")
            if not log.exists():
                continue
            rows = _read(log)
            label = name if one is trained[0] else None
            action.plot(_smooth([row["action"] for row in rows], 20), color=colour, alpha=0.7, label=label)
            if "distill" in rows[0]:
                distill.plot(_smooth([row["distill"] for row in rows], 20), color=colour, alpha=0.7, label=label)
    action.set(title="action loss (cross-entropy)", xlabel="step")
    distill.set(title="distillation loss, λ · logit MSE", xlabel="step", yscale="log")
    for axis in (action, distill):
        axis.legend()
        axis.grid(alpha=0.3)
    _save(figure, path)


def _read(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def confusion(counts: list[list[int]], classes: list[str], path: Path) -> None:
    """D3D's confusion matrix over all seeds, rows normalised."""
    matrix = np.array(counts, dtype=float)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    size = 2.5 + 0.55 * len(classes)
    figure, axis = plt.subplots(figsize=(size, size))
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="predicted", ylabel="true", title="D3D on the test clips")
    if len(classes) <= 20:
        for (i, j), value in np.ndenumerate(share):
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.5 else "black")
    _save(figure, path)


def contact_sheet(config: Config, one: Trained, test: Dataset, path: Path, *, most: int = 8) -> None:
    """Frames of one test clip per class beside their flow and the networks' predictions."""
    label, classes = torch.tensor(test["label"]), test.features["label"].names
    views = clips.views(config, test, clips.flow_source(config, test), train=False)
    rows = [int((label == k).nonzero()[0]) for k in sorted(set(test["label"]))[:most]]
    figure, axes = plt.subplots(len(rows), 7, figsize=(13, 1.9 * len(rows)), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for line, row in zip(axes, rows, strict=True):
        item = views[row * config.input.test_views]
        times = torch.linspace(0, config.input.frames - 2, 3).long()
        for k, t in enumerate(times):
            line[2 * k].imshow(((item["rgb"][:, t] + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy())
            field = item["flow"][:, t] * config.input.flow_bound
            line[2 * k + 1].imshow(flow.to_image(field).permute(1, 2, 0).numpy())
        guesses = [f"{name}: {classes[int(one.scores[name][row].argmax())]}" for name in SHOWN]
        text = "\n".join([f"{classes[label[row]]}", "", *guesses])
        line[6].text(0, 0.5, text, va="center", fontsize=9, transform=line[6].transAxes)
    _save(figure, path)
