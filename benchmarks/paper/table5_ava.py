"""Table 5: the features of S3D-G and of D3D for detecting actions, in frame-mAP.

    python -m benchmarks.paper.table5_ava --scale pocket --seeds 0 1 2

Scale pocket: synthetic localisation videos, and the networks that the pocket recipe trains. A seed is that of the
network's training and of the detector's. Other scales have no data for it here; AVA itself needs the commands that
--scale paper prints. The same command continues where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from typing import Any

from accelerate import Accelerator

from benchmarks.paper.tables import published, running
from benchmarks.paper.tables.table import Measured, Metric, Row, Table
from examples.ava import config as ava
from examples.ava.evaluate import evaluate
from examples.ava.train import make_accelerator, train
from examples.d3d.config import PAPER as KINETICS
from examples.d3d.config import Config
from examples.d3d.methods import D3D, RGB
from examples.d3d.students import train_method

DETECTOR = dataclasses.replace(ava.POCKET, split="test")
DECISIVE = ("data_seed", "split", "min_score", "layer", "frozen_statistics", "dropout", "box_weight")


def measure(row: Row, config: Config, seed: int, accelerator: Accelerator, *, detector: ava.Config) -> Measured:
    """Frame-mAP, in per cent, of a detector on the network of the row's method."""
    (method,) = row.of
    weights = train_method(config, method, seed, accelerator)
    accelerator = make_accelerator(detector)
    folder = train(detector, weights, seed, accelerator)
    found = evaluate(folder, detector, accelerator, output=folder / f"detections_{detector.split}.csv")
    per_class = {name: 100 * value for name, value in found.per_class.items() if not math.isnan(value)}
    return Measured(100 * found.mean, detector.optimizer.steps, per_class)


def _measure(row: Row, config: Config, seed: int, accelerator: Accelerator) -> Measured:
    return measure(row, config, seed, accelerator, detector=dataclasses.replace(DETECTOR, work_dir=config.work_dir))


def _settings(detector: ava.Config) -> dict[str, Any]:
    """The detector's settings that decide a value."""
    parts = {name: dataclasses.asdict(getattr(detector, name)) for name in ("input", "optimizer")}
    return {"detector": {name: getattr(detector, name) for name in DECISIVE} | parts}


def _plan(options: argparse.Namespace) -> str:
    steps, batch, frames = ava.PAPER.optimizer.steps, ava.PAPER.optimizer.batch_size, ava.PAPER.input.frames
    gpus, like_kinetics = 11, frames / KINETICS.input.frames
    train = published.launch(gpus, "examples.ava.train", ["paper", "--root", "AVA", "--weights", "NETWORK.safetensors"])
    evaluate = published.launch(1, "examples.ava.evaluate", ["paper", "--root", "AVA", "--detector", "FOLDER"])
    return (
        f"two detectors of {steps} steps of {batch} windows of {frames} frames\n"
        "  data: AVA's videos and csv files and proposals of a person detector, in a folder as examples/ava/config.py\n"
        "  describes it; two networks trained on Kinetics-400 (benchmarks.paper.table2_kinetics400 --scale paper)\n"
        f"  GPU-hours: {published.cost(2 * steps * batch * like_kinetics)}\n  {train}\n  {evaluate}"
    )


def _paper(method: str, pretraining: str = "Kinetics-400") -> dict[str, str | None]:
    return {"method": method, "pretraining": pretraining}


TABLE = Table(
    name="table5",
    protocol=(
        "Windows of 16 frames round a key frame; the network up to layer 4F, mean over time, RoIAlign at the given "
        "proposals, a sigmoid for each action and one set of box offsets. Batch norm keeps the statistics of the "
        "network's own training. Proposals come with the videos: they are jittered boxes of everything that is there, "
        "also of shapes that do nothing, and boxes of nothing. The paper trains on 50 frames; layer, head, optimiser "
        "and the weights of the two losses are our choices."
    ),
    metric=Metric("frame-mAP", "%", 1, published_digits=1),
    rows=(
        Row("I3D w/ RPN, Kinetics-600", (), _paper("I3D w/ RPN", "Kinetics-600")),
        Row("I3D w/ RPN + JFT", (), _paper("I3D w/ RPN + JFT")),
        Row("S3D-G", (RGB,), _paper("S3D-G w/ ResNet RPN"), claim=True),
        Row("D3D", (D3D,), _paper("D3D w/ ResNet RPN"), claim=True),
    ),
    measure=_measure,
    paper_columns={"AVA v2.1": "frame_map"},
    part="ava",
    settings=_settings(DETECTOR),
    plan=_plan,
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
