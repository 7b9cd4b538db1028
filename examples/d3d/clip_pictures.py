"""The pictures of a report that show clips: a sheet with flow and guesses, and where two networks see the class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib import pyplot as plt
from torch import Tensor

from examples.d3d import networks
from examples.d3d.data import Clips
from examples.d3d.style import picture, save, verdict, wheel
from examples.d3d.train_teacher import NAMES
from kdvideo import data, flow, models

BEFORE, AFTER = NAMES["rgb"], NAMES["d3d"]


def _items(clips: Clips, rows: list[int]) -> tuple[list[dict[str, Any]], float]:
    """Return the first test view of some clips, their flow in pixels, and the speed of the fastest pixel."""
    views = clips.views(clips.test, clips.flow_of(clips.test), train=False)
    items = [data.to_float(views[row * clips.input.test_views]) for row in rows]
    for item in items:
        item["flow"] = item["flow"] * clips.input.flow_bound
    # One scale for the sheet: with one of its own a field at rest is as colorful as any.
    return items, max(float(item["flow"].norm(dim=0).max()) for item in items) or 1.0


def contact_sheet(clips: Clips, scores: Mapping[str, Tensor], path: Path, *, most: int = 8) -> None:
    """Draw frames of one test clip of each class beside their flow and what the networks say, right or wrong."""
    label, classes, view = torch.tensor(clips.test["label"]), clips.classes, clips.input
    rows = [int((label == k).nonzero()[0]) for k in sorted(set(clips.test["label"]))[:most]]
    items, fastest = _items(clips, rows)
    width = 6 + len(NAMES)
    figure, axes = plt.subplots(
        len(rows) + 1, width, figsize=(1.6 * width, 1.7 * len(rows) + 1.4), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.set_axis_off()
    times = torch.linspace(0, view.frames - 2, 3).long().tolist()
    for k, t in enumerate(times):
        axes[0, 2 * k].set_title(f"frame, {t / view.fps:.2f} s", fontsize=9)
        axes[0, 2 * k + 1].set_title("flow to the next", fontsize=9)
    for axis, name in zip(axes[0, 6:], NAMES.values(), strict=True):
        axis.set_title(name, fontsize=9)
    for axis in axes[:-1, 6:].flat:
        axis.set_box_aspect(1)  # as the pictures', so that the titles stand in a line
    for line, row, item in zip(axes, rows, items, strict=False):
        truth = classes[label[row]]
        line[0].text(-0.08, 0.5, truth, rotation=90, ha="right", va="center", transform=line[0].transAxes)
        for k, t in enumerate(times):
            line[2 * k].imshow(picture(item["rgb"][:, t]))
            line[2 * k + 1].imshow(picture(flow.to_image(item["flow"][:, t], max_magnitude=fastest)))
        for axis, name in zip(line[6:], NAMES.values(), strict=True):
            text, color = verdict(classes[int(scores[name][row].argmax())], truth)
            sure = f"{text}\n{100 * float(scores[name][row].max()):.0f} %"
            axis.text(0.5, 0.5, sure, color=color, ha="center", va="center", transform=axis.transAxes)
    wheel(axes[-1, 1], fastest)
    meaning = "flow: the hue is the direction, the color\nthe speed; white is rest"
    axes[-1, 2].text(0, 0.5, meaning, va="center", fontsize=9).set_in_layout(False)
    save(figure, path)


def activations(
    clips: Clips, trained: Mapping[str, models.Network], scores: Mapping[str, Tensor], path: Path, *, most: int = 4
) -> None:
    """Draw where the RGB network sees the true class before distillation and after it, in some test clips.

    The clips are the first of each class that only the distilled network gets right, then others.
    """
    label, classes = torch.tensor(clips.test["label"]), clips.classes
    before, after = (scores[name].argmax(1) == label for name in (BEFORE, AFTER))
    gained = (after & ~before).nonzero().flatten().tolist()
    first = {int(label[row]): row for row in reversed(gained)}  # of each class
    rows = [*sorted(first.values()), *gained, *range(len(label))]
    rows = list(dict.fromkeys(rows))[:most]
    items, fastest = _items(clips, rows)
    figure, axes = plt.subplots(len(rows), 4, figsize=(8, 2.2 * len(rows) + 0.5), squeeze=False, layout="constrained")
    titles = ("frame", "flow", f"before: {BEFORE}", f"after: {AFTER}")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    for line, row, item in zip(axes, rows, items, strict=True):
        truth = int(label[row])
        maps = {name: _activation(trained[name], item["rgb"], truth) for name in (BEFORE, AFTER)}
        largest = max(float(one.max()) for one in maps.values())
        frames = ((item["rgb"].movedim(1, 0) + 1) * 127.5).round().to(torch.uint8)
        middle = len(frames) // 2
        line[0].imshow(picture(frames[middle]))
        line[0].set_ylabel(classes[truth])
        line[1].imshow(picture(flow.to_image(item["flow"][:, middle], max_magnitude=fastest)))
        for axis, (name, one) in zip(line[2:], maps.items(), strict=True):
            axis.imshow(picture(models.highlight(frames, one, most=largest if largest > 0 else None)[middle]))
            text, color = verdict(classes[int(scores[name][row].argmax())], classes[truth])
            axis.set_xlabel(text, color=color)
        for axis in line:
            axis.set(xticks=[], yticks=[])
    cells = "×".join(map(str, next(iter(maps.values())).shape[1:]))
    figure.supxlabel(
        f"orange: what adds to the logit of the true class, on {cells} places; one scale a row", fontsize=9
    )
    save(figure, path)


def _activation(network: models.Network, clip: Tensor, label: int) -> Tensor:
    """Compute the class activation (T', H', W') of one clip, on the CPU."""
    device = next(network.parameters()).device
    batch = networks.feed(network, clip[None].to(device))
    return models.class_activation(network.eval(), batch, torch.tensor([label], device=device))[0].cpu()
