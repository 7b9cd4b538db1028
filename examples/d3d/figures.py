"""The pictures of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import Tensor

from examples.d3d.config import Config
from examples.d3d.data import Clips
from examples.d3d.train_teacher import NAMES
from kdvideo import data, flow
from kdvideo.training import StepLog

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLORS = {"rgb": "tab:blue", "flow": "tab:green", "d3d": "tab:red"}


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _smooth(values: list[float], window: int) -> Any:
    window = max(1, min(window, len(values) // 4))
    return np.convolve(values, np.ones(window) / window, mode="valid")


def loss_curves(config: Config, path: Path) -> None:
    """Draw the action loss of the three networks and the distillation loss, one line a seed, running mean."""
    figure, (action, distill) = plt.subplots(1, 2, figsize=(11, 4))
    for seed in config.seeds:
        for network, name in NAMES.items():
            log = config.folder(seed, network) / "log.jsonl"
            if not log.exists():  # a teacher that was given
                continue
            rows, color = StepLog.read(log), COLORS[network]
            label = name if seed == config.seeds[0] else None
            action.plot(_smooth([row["action"] for row in rows], 20), color=color, alpha=0.7, label=label)
            if "distill" in rows[0]:
                distill.plot(_smooth([row["distill"] for row in rows], 20), color=color, alpha=0.7, label=label)
    action.set(title="action loss (cross-entropy)", xlabel="step")
    distill.set(title="distillation loss, λ · logit MSE", xlabel="step", yscale="log")
    for axis in (action, distill):
        axis.legend()
        axis.grid(alpha=0.3)
    _save(figure, path)


def confusion(counts: list[list[int]], classes: list[str], path: Path) -> None:
    """Draw D3D's confusion matrix over all seeds, rows normalized."""
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


def contact_sheet(clips: Clips, scores: dict[str, Tensor], path: Path, *, most: int = 8) -> None:
    """Draw frames of one test clip per class beside their flow and the networks' predictions."""
    label, classes, view = torch.tensor(clips.test["label"]), clips.classes, clips.input
    views = clips.views(clips.test, clips.flow_of(clips.test), train=False)
    rows = [int((label == k).nonzero()[0]) for k in sorted(set(clips.test["label"]))[:most]]
    figure, axes = plt.subplots(len(rows), 7, figsize=(13, 1.9 * len(rows)), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    items = [data.to_float(views[row * view.test_views]) for row in rows]
    # One scale for the sheet: with one of its own a field at rest is as colourful as any.
    fastest = max(float(item["flow"].norm(dim=0).max()) for item in items) * view.flow_bound
    for line, row, item in zip(axes, rows, items, strict=True):
        for k, t in enumerate(torch.linspace(0, view.frames - 2, 3).long()):
            line[2 * k].imshow(((item["rgb"][:, t] + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy())
            field = item["flow"][:, t] * view.flow_bound
            line[2 * k + 1].imshow(flow.to_image(field, max_magnitude=fastest or None).permute(1, 2, 0).numpy())
        guesses = [f"{name}: {classes[int(scores[name][row].argmax())]}" for name in NAMES.values()]
        text = "\n".join([f"{classes[label[row]]}", "", *guesses])
        line[6].text(0, 0.5, text, va="center", fontsize=9, transform=line[6].transAxes)
    _save(figure, path)
