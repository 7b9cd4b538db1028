"""The pictures of the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor
from torch.utils.data import default_collate

from benchmarks.paper import decoding
from benchmarks.paper.decoding import Features
from benchmarks.paper.lab import Lab
from benchmarks.paper.tables.records import values
from benchmarks.paper.tables.table import Picture, Record
from examples.d3d import comparison
from kdvideo import data, flow

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def lines(rows: Mapping[str, Sequence[str]], places: Sequence[str]) -> Picture:
    """Draw a line for each name over the given places, from the record alone, with standard errors."""

    def draw(record: Record, lab: Lab, seed: int, path: Path) -> None:
        if not lab.accelerator.is_main_process:
            return
        figure, axis = plt.subplots(figsize=(6, 4))
        for name, of in rows.items():
            found = [comparison.summarize(values(record, row)) for row in of]
            errors = [one.standard_error or 0.0 for one in found]
            axis.errorbar(places, [one.mean for one in found], yerr=errors, marker="o", capsize=3, label=name)
        axis.set(xlabel="layer", ylabel=f"{record['metric']['name']} ({record['metric']['unit']})")
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
        axis.legend()
        axis.grid(alpha=0.3)
        _save(figure, path)

    return draw


def decoded(shown: Mapping[str, Features], *, most: int = 8) -> Picture:
    """Draw frames of one test clip of each class, their flow, and what was read from some networks."""

    def draw(record: Record, lab: Lab, seed: int, path: Path) -> None:
        readers = {name: decoding.trained(features, lab, seed) for name, features in shown.items()}
        batch, names = _one_of_each_class(lab, most)
        if not lab.accelerator.is_main_process:
            return
        fields = {"TV-L1": flow.clip_to_pixels(batch["flow"], bound=lab.config.input.flow_bound)}
        for name, reader in readers.items():
            module = reader.module.to(lab.accelerator.device).eval()
            with torch.no_grad(), lab.accelerator.autocast():
                read, target = decoding.predictions(module, reader.stream, batch, lab)
            fields["TV-L1 at 3A"], fields[name] = _field(target), _field(read)
        _sheet(batch["rgb"], fields, names, path)

    return draw


def _one_of_each_class(lab: Lab, most: int) -> tuple[dict[str, Any], list[str]]:
    views, label = decoding.test_windows(lab), lab.labels
    classes = sorted(set(label.tolist()))[:most]
    first = [int((label == k).nonzero()[0]) * lab.config.input.test_views for k in classes]
    return data.to_float(default_collate([views[row] for row in first])), [lab.clips.classes[k] for k in classes]


def _field(encoding: Tensor) -> Tensor:
    return flow.im2flow_decode(encoding.float().cpu().transpose(1, 2))


def _sheet(rgb: Tensor, fields: Mapping[str, Tensor], names: Sequence[str], path: Path) -> None:
    figure, axes = plt.subplots(
        len(names), 1 + len(fields), figsize=(2 * len(fields) + 2, 2 * len(names)), squeeze=False
    )
    for row, line in enumerate(axes):
        line[0].imshow(((_middle(rgb[row].transpose(0, 1)) + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy())
        line[0].set_ylabel(names[row])
        fastest = float(_middle(fields["TV-L1"][row]).norm(dim=0).max()) or 1.0
        for axis, field in zip(line[1:], fields.values(), strict=True):
            picture = flow.to_image(_middle(field[row]), max_magnitude=fastest)
            axis.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
        for axis in line:
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(axes[0], ("frame", *fields), strict=True):
        axis.set_title(title)
    _save(figure, path)


def _middle(frames: Tensor) -> Tensor:
    """The picture (C,H,W) of the middle step of (T,C,H,W): step k of a layer pairs with frame k times its stride."""
    return frames[len(frames) // 2]
