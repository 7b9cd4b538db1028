"""Table 5: the features of S3D-G and of D3D for detecting actions, in frame-mAP.

    python -m benchmarks.paper.table5_ava --scale pocket --seeds 0 1 2

Scale pocket: synthetic localization videos, and the networks that the pocket recipe trains. A seed is that of the
network's training and of the detector's. Other scales have no data for it here; AVA itself needs the commands that
--scale paper prints. The same command continues where it was stopped.
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

import argparse
import dataclasses
import math
from typing import Any

from benchmarks.paper import training_log
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import D3D, RGB
from benchmarks.paper.tables import cluster_plan, running
from benchmarks.paper.tables.table import Measured, Metric, Row, Table
from examples.ava import config as ava
from examples.ava.detectors import HEAD
from examples.ava.evaluate import evaluate
from examples.ava.train import decisive, make_accelerator, train
from examples.ava.windows import open_split
from examples.d3d.config import PAPER as KINETICS
from kdvideo.training import settings_hash

DETECTOR = dataclasses.replace(ava.POCKET, split="test")
DECISIVE = ("data_seed", "split", "min_score", "layer", "box_layers", "frozen_statistics", "dropout", "box_weight")


def measure(row: Row, lab: Lab, seed: int, *, detector: ava.Config | None = None) -> Measured:
    """Compute the frame-mAP, in per cent, of a detector on the network of the row's method."""
    (method,) = row.of
    detector = detector or dataclasses.replace(DETECTOR, work_dir=lab.config.work_dir)
    trained, accelerator = lab.train(method, seed), make_accelerator(detector)
    settings = decisive(detector, trained.network, open_split(detector, "train"), seed)
    folder = detector.work_dir / "detectors" / settings_hash(settings)
    with training_log.timed(folder / HEAD, accelerator):
        train(detector, trained.path, seed, accelerator, folder=folder)
    found = evaluate(folder, detector, accelerator, output=folder / f"detections_{detector.split}.csv")
    per_class = {name: 100 * value for name, value in found.per_class.items() if not math.isnan(value)}
    trainings = trained.trainings | training_log.about(folder)
    return Measured(100 * found.mean, detector.optimizer.steps, per_class, trainings)


def _settings(detector: ava.Config) -> dict[str, Any]:
    """Return the detector's settings that decide a value."""
    parts = {name: dataclasses.asdict(getattr(detector, name)) for name in ("input", "optimizer")}
    return {"detector": {name: getattr(detector, name) for name in DECISIVE} | parts}


def _plan(options: argparse.Namespace) -> str:
    steps, batch, frames = ava.PAPER.optimizer.steps, ava.PAPER.optimizer.batch_size, ava.PAPER.input.frames
    like_kinetics = frames / KINETICS.input.frames
    flags = ["paper", "--root", "AVA"]
    training = cluster_plan.launch(options.gpus, "examples.ava.train", [*flags, "--weights", "NETWORK.safetensors"])
    evaluation = cluster_plan.launch(options.gpus, "examples.ava.evaluate", [*flags, "--detector", "FOLDER"])
    return (
        f"two detectors of {steps} steps of {batch} windows of {frames} frames\n"
        "  data: AVA's videos and csv files and proposals of a person detector, in a folder as examples/ava/config.py\n"
        "  describes it; two networks trained on Kinetics-400 (benchmarks.paper.table2_kinetics400 --scale paper)\n"
        f"  GPU-hours: {cluster_plan.cost(2 * steps * batch * like_kinetics)}\n  {training}\n  {evaluation}"
    )


def _paper(method: str, pretraining: str = "Kinetics-400") -> dict[str, str | None]:
    return {"method": method, "pretraining": pretraining}


TABLE = Table(
    name="table5",
    protocol=(
        "Windows of 16 frames round a key frame; the network up to layer 4F, mean over time, RoIAlign at the given "
        "proposals, a sigmoid for each action and one set of box offsets. Batch norm keeps the statistics of the "
        "network's own training. Proposals come with the videos: they are jittered boxes of everything that is there, "
        "also of shapes that do nothing, and boxes of nothing. The paper trains on 50 frames; layer, head, optimizer "
        "and the weights of the two losses are our choices."
    ),
    metric=Metric("frame-mAP", "%", 1, published_digits=1),
    rows=(
        Row("I3D w/ RPN, Kinetics-600", (), _paper("I3D w/ RPN", "Kinetics-600")),
        Row("I3D w/ RPN + JFT", (), _paper("I3D w/ RPN + JFT")),
        Row("S3D-G", (RGB,), _paper("S3D-G w/ ResNet RPN"), claim=True),
        Row("D3D", (D3D,), _paper("D3D w/ ResNet RPN"), claim=True),
    ),
    measure=measure,
    paper_columns={"AVA v2.1": "frame_map"},
    part="ava",
    settings=_settings(DETECTOR),
    plan=_plan,
)

if __name__ == "__main__":
    running.main(TABLE, __doc__)
