"""What hand-crafted features and a linear SVM reach on the folds of UT-Interaction, on the frames the networks see.

    python -m benchmarks.paper.hand_crafted --clips ../shared/data/ut_interaction

Histograms of oriented gradients (Dalal, Triggs 2005) of every frame, and of oriented TV-L1 flow (Laptev et al. 2008),
averaged over each third of the clip. Nothing is chosen: cells of 16 pixels, C = 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--clips", type=Path, default=Path("../shared/data/ut_interaction"), help="the folder of UT-Interaction"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("runs"), help="clips, flow and trained networks")
    options = parser.parse_args()

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import hog
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from benchmarks import record
from benchmarks.paper import ut_interaction, ut_interaction_record
from examples.d3d.config import Input
from examples.d3d.data import Clips, open_clips
from kdvideo import data, flow
from kdvideo.training import environment

CELL, BINS = 16, 8
Features = NDArray[np.float64]


def frames_of(path: str, view: Input) -> Tensor:
    """Read all frames of a clip as the networks see them: resized, cropped at the center, bytes, (T, 3, H, W)."""
    clip = data.read_frames(path, fps=view.fps, short_side=view.short_side)
    top, left = ((size - view.crop) // 2 for size in clip.shape[2:])
    return clip[:, :, top : top + view.crop, left : left + view.crop]


def gradients(frames: Tensor) -> Features:
    """Compute the mean gradient histograms of each third of a clip."""
    cells = {"pixels_per_cell": (CELL, CELL), "cells_per_block": (2, 2), "orientations": 9}
    return _thirds([hog(frame.numpy(), channel_axis=0, **cells) for frame in frames])


def motion(frames: Tensor) -> Features:
    """Compute the mean flow histograms of each third of a clip: orientations weighted by length, by cell."""
    fields = flow.TVL1Estimator(flow.PRESETS["default"])(frames)  # (T - 1, 2, H, W)
    u, v = fields.unbind(1)
    length, angle = torch.hypot(u, v), torch.atan2(v, u)
    bins = ((angle + math.pi) / (2 * math.pi) * BINS).long() % BINS
    votes = torch.nn.functional.one_hot(bins, BINS) * length[..., None]
    count, height, width, _ = votes.shape
    cells = votes.reshape(count, height // CELL, CELL, width // CELL, CELL, BINS).mean((2, 4))
    return _thirds(list(cells.flatten(1).double().numpy()))


def _thirds(rows: list[Any]) -> Features:
    parts = np.array_split(np.stack(rows), 3)
    return np.concatenate([part.mean(0) for part in parts])


KINDS: dict[str, tuple[Callable[[Tensor], Features], ...]] = {
    "HOG + linear SVM": (gradients,),
    "flow histograms + linear SVM": (motion,),
    "both + linear SVM": (gradients, motion),
}


def measure(clips: Clips) -> dict[str, float]:
    """Fit on the training clips of a fold; return the top-1 on its test clips."""
    sides = {}
    for side, rows in (("train", clips.train), ("test", clips.test)):
        seen = [frames_of(path, clips.input) for path in rows["path"]]
        found: dict[Any, Features] = {one: np.stack([one(frames) for frames in seen]) for one in (gradients, motion)}
        sides[side] = found, np.array(rows["label"])
    top1 = {}
    for name, kinds in KINDS.items():
        train, test = (np.concatenate([sides[side][0][one] for one in kinds], 1) for side in ("train", "test"))
        svm = make_pipeline(StandardScaler(), LinearSVC(C=1.0, random_state=0)).fit(train, sides["train"][1])
        top1[name] = float((svm.predict(test) == sides["test"][1]).mean())
    return top1


def main(options: argparse.Namespace) -> None:
    """Measure every reported fold and add the part "hand_crafted" to the record of UT-Interaction."""
    cells: dict[str, dict[str, list[float]]] = {name: {} for name in KINDS}
    for fold in ut_interaction.REPORTED:
        config = ut_interaction.fold_config(ut_interaction.STARTED, options.clips, options.work_dir, fold)
        clips = open_clips(config)
        share = len(clips.test) / len(clips.train)
        for name, value in measure(clips).items():
            cells[name][f"fold {fold}"] = [value]
        print(f"fold {fold}", {name: one[f"fold {fold}"] for name, one in cells.items()}, flush=True)
    seen = dataclasses.asdict(ut_interaction.STARTED.input)
    result = {
        **ut_interaction_record.statistics(cells, share),
        "seeds": [0],
        "data": "UT-Interaction, 120 clips, whole sequences left out",
        "config": {"input": seen},
        "environment": environment("python -m benchmarks.paper.hand_crafted"),
    }
    record.update("ut_interaction", "hand_crafted", result, ut_interaction_record.render)


if __name__ == "__main__":
    main(options)
