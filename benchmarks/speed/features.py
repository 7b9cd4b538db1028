"""`kdvideo features` on one core, beside a loop that only decodes the videos and runs the network on their windows.

Every round runs the command's function and twice the loop (A/A), each from the file of weights to the features, in an
order drawn anew. Ratios are of processor time, formed within a round: other programs do not count.

    python -m benchmarks.speed.features
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/clips"), help="folder of real videos")
    parser.add_argument("--videos", type=int, default=2, help="of the folder, that are used")
    parser.add_argument("--rounds", type=int, default=5, help="that alternate between what is compared")
    options = parser.parse_args()

import itertools
import tempfile
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import record
from benchmarks.markdown import table
from benchmarks.speed.flow_parts.real_frames import videos
from kdvideo import data, extraction, models
from kdvideo.training import Timings
from kdvideo.training.timing import spread_of

LIMIT = 1.1
ARMS = {"features": "`kdvideo features`", "loop again": "the loop again"}
FPS, SHORT_SIDE, CROP, WINDOW, STRIDE = 25.0, 128, 112, 16, 8
SECONDS = 3.0  # of each video
Rows = Sequence[dict[str, Any]]


def rows_of(folder: Path, count: int) -> Rows:
    """List the first seconds of some videos."""
    files = [
        file for file in videos(folder) if data.probe(file, fps=FPS, short_side=SHORT_SIDE).length >= SECONDS * FPS
    ]
    return [
        {"path": str(file), "clip": f"{number}.mp4", "start": 0.0, "end": SECONDS}
        for number, file in enumerate(files[:count])
    ]


def write_weights(path: Path) -> Path:
    """Write S3D-G with random weights."""
    torch.manual_seed(0)
    view = {"stream": "rgb", "frames": WINDOW, "fps": FPS, "short_side": SHORT_SIDE, "crop": CROP, "flow_bound": 20.0}
    models.checkpoints.save(models.s3dg(2), path, classes=["a", "b"], input_spec=view)
    return path


@torch.no_grad()
def loop(weights: Path, rows: Rows) -> list[np.ndarray]:
    """Decode each video and run the network on its windows."""
    network, _ = models.checkpoints.load(weights)
    network.eval().get_submodule("head").forward = lambda x: x.mean((2, 3, 4))
    found = []
    for row in rows:
        sampling = {"start": row["start"], "end": row["end"], "fps": FPS, "short_side": SHORT_SIDE}
        frames = data.read_frames(row["path"], **sampling)
        top, left = ((side - CROP) // 2 for side in frames.shape[2:])
        frames = frames[:, :, top : top + CROP, left : left + CROP].transpose(0, 1)
        starts = range(0, frames.shape[1] - WINDOW + 1, STRIDE)
        clips = (network.input_spec.prepare(frames[:, first : first + WINDOW])[None] for first in starts)
        found.append(torch.cat([network(clip) for clip in clips]).numpy())
    return found


def features(folder: Path, weights: Path, rows: Rows, numbers: itertools.count[int]) -> list[np.ndarray]:
    """Write the features into a new folder, and read them."""
    out = folder / str(next(numbers))
    result = extraction.extract_features(rows, out, weights, stride=STRIDE)
    assert result.done == len(rows), result
    return [np.load(out / row["clip"].replace(".mp4", ".npy")) for row in rows]


def measure(clips: Path, count: int, rounds: int) -> dict[str, Any]:
    """Time the arms; they must give the same features."""
    rows = rows_of(clips, count)
    with tempfile.TemporaryDirectory() as name:
        weights = write_weights(Path(name, "s3dg.safetensors"))
        bare = partial(loop, weights, rows)
        ours = partial(features, Path(name), weights, rows, itertools.count())
        times = Timings({"features": ours, "loop": bare, "loop again": bare}, rounds, shuffle=True)
    ends: dict[str, Any] = times.last
    for left, right in zip(ends["features"], ends["loop"], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5)
    ratios = {arm: spread_of([a / b for a, b in zip(times.cpu[arm], times.cpu["loop"], strict=True)]) for arm in ARMS}
    windows = sum(len(found) for found in ends["loop"])
    return {"videos": len(rows), "windows": windows, "rounds": rounds, "limit": LIMIT, "processor_time": ratios}


def markdown(result: dict[str, Any]) -> str:
    """Render the record."""
    rows = [
        [text, f"{cost['median']:.2f}× ({cost['min']:.2f}–{cost['max']:.2f})"]
        for arm, text in ARMS.items()
        for cost in [result["processor_time"][arm]]
    ]
    about = (
        f"{result['windows']} windows of {WINDOW} frames of {CROP}×{CROP} pixels, of {result['videos']} real videos; "
        f"S3D-G on RGB. Asked: at most {result['limit']}. {result['rounds']} rounds; {result['hardware']}, "
        f"{result['threads']} thread, load average {result['load_average']}."
    )
    return "\n".join([*table(["processor time, decoding and forward = 1", "median (and range)"], rows), "", about, ""])


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    found = measure(options.clips, options.videos, options.rounds)
    record.write_run("benchmarks.speed.features", found, markdown)


if __name__ == "__main__":
    main(options)
