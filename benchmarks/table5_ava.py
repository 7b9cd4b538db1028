"""Table 5: the features of S3D-G and of D3D for detecting actions, in frame-mAP.

    python -m benchmarks.table5_ava --scale pocket --seeds 0 1 2

Scale pocket: synthetic localisation videos, and the networks that the pocket recipe trains. A seed is that of the
network's training and of the detector's. Other scales have no data for it here; AVA itself needs the commands that
--scale paper prints. The same command continues where it was stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator

from benchmarks.tables import markdown, running
from benchmarks.tables.records import RecordFile
from benchmarks.tables.scales import SCALES, Scale, Videos
from benchmarks.tables.table import Measured, Metric, Row, Table
from examples.ava import config as ava
from examples.ava.clips import root
from examples.ava.evaluate import evaluate
from examples.ava.train import make_accelerator, train
from examples.d3d.config import Config, plain_errors
from examples.d3d.methods import D3D, RGB
from examples.d3d.students import train_method

DETECTOR = dataclasses.replace(ava.POCKET, split="test")
POCKET = dataclasses.replace(
    SCALES["pocket"],
    data={"ava": Videos("synthetic localisation videos (6 actions, 240 training and 144 test key frames)")},
)
DECISIVE = ("data_seed", "split", "min_score", "layer", "frozen_statistics", "dropout", "box_weight")
PAPER = """Nothing was trained. Table 5 on AVA takes AVA's videos and csv files, person proposals of a detector, and two
networks trained on Kinetics-400 (benchmarks.table2_kinetics400 --scale paper). Then, for each of the two:
  accelerate launch -m examples.ava.train paper --root AVA --weights NETWORK.safetensors
  accelerate launch -m examples.ava.evaluate paper --root AVA --detector FOLDER
AVA is a folder as examples/ava/config.py describes it. The paper trained 500,000 steps on 11 GPUs."""


def measure(row: Row, config: Config, seed: int, accelerator: Accelerator, *, detector: ava.Config) -> Measured:
    """Frame-mAP, in per cent, of a detector on the network of the row's method."""
    (method,) = row.of
    weights = train_method(config, method, seed, accelerator)
    folder = train(detector, weights, seed, accelerator)
    found = evaluate(folder, detector, accelerator, output=folder / f"detections_{detector.split}.csv")
    per_class = {name: 100 * value for name, value in found.per_class.items() if not math.isnan(value)}
    return Measured(100 * found.mean, detector.optimizer.steps, per_class)


def _measure(row: Row, config: Config, seed: int, accelerator: Accelerator) -> Measured:
    return measure(row, config, seed, accelerator, detector=dataclasses.replace(DETECTOR, work_dir=config.work_dir))


def _paper(method: str, pretraining: str = "Kinetics-400") -> dict[str, str | None]:
    return {"method": method, "pretraining": pretraining}


# Not TABLE: benchmarks.run_all starts scripts without one by their own command, as this one has data of its own.
DETECTION = Table(
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
)


@plain_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = running.parser(__doc__).parse_args(arguments)
    if options.scale == "paper":
        print(PAPER)
    elif options.scale != POCKET.name:
        print(f"table5 has no data at scale {options.scale}: not run")
    else:
        run(RecordFile(DETECTION, POCKET, options.results), POCKET, options)


def run(file: RecordFile, scale: Scale, options: argparse.Namespace) -> None:
    """Measure what the record lacks, row by row and seed by seed, and write its table."""
    draws = scale.draws("ava", options.seeds or scale.seeds, options)
    if not options.render:
        torch.set_num_threads(options.threads)
        file.check(draws[0].config)
        check_detector(file)
        root(dataclasses.replace(DETECTOR, work_dir=options.work_dir))
        accelerator = make_accelerator(DETECTOR)
        for row, wanted in running.plan(DETECTION, draws, every=options.every):
            for draw in file.missing(wanted, row.name):
                measured = DETECTION.measure(row, draw.config, draw.seed, accelerator)
                if accelerator.is_main_process:
                    file.note("detector", detector_settings())
                    file.add(row.name, draw, measured, running.environment(options))
                    _render(file)
                accelerator.print(f"table5, {row.name}, seed {draw.key}: {measured.value:.1f} %", flush=True)
                accelerator.wait_for_everyone()
    _render(file)


def detector_settings() -> dict[str, Any]:
    """The detector's settings that decide a value, as JSON holds them."""
    every = {name: getattr(DETECTOR, name) for name in DECISIVE}
    every |= {name: dataclasses.asdict(getattr(DETECTOR, name)) for name in ("input", "optimizer")}
    found: dict[str, Any] = json.loads(json.dumps(every))
    return found


def check_detector(file: RecordFile) -> None:
    """Raise `ValueError` unless the record's values are of detectors with these settings."""
    known = file.read().get("detector", detector_settings())
    if known != detector_settings():
        raise ValueError(f"{file.path} was measured with another detector; move it, or choose --results")


def _render(file: RecordFile) -> None:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.markdown.write_text(markdown.document(file.table, file.read()))


if __name__ == "__main__":
    main()
