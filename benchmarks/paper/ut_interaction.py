"""RGB, flow, D3D and MARS from an ImageNet start on the real clips of UT-Interaction, whole sequences left out.

    python -m benchmarks.paper.ut_interaction --clips ../shared/data/ut_interaction

120 clips, 6 classes, 20 sequences; file names are index_sequence_class.avi and each of five folds holds out two
sequences of each set. Fold 0 chose the settings and is not reported. Clip length and frame geometry leak the class in
this data set, so windows have a fixed length, frames are resized isotropically and cropped at the center. The same
command continues where it was stopped. The record is written after every fold, beside those of the same settings that
it holds, as soon as there are two.
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
    parser.add_argument("--start", choices=("imagenet", "scratch"), default="imagenet", help="of all networks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of all networks")
    folds = (1, 2, 3, 4)
    parser.add_argument("--folds", type=int, nargs="+", default=folds, choices=folds, help="that are held out")
    parser.add_argument("--threads", type=int, default=1, help="of the processor; accuracies depend on their number")
    options = parser.parse_args()

import csv
import dataclasses
import io
from typing import Any

import torch

from benchmarks import record
from benchmarks.paper import ut_interaction_record
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import D3D, FLOW, MARS, RGB
from examples.d3d.config import Config, Input, Network, Optimizer
from examples.d3d.training import make_accelerator
from kdvideo import data
from kdvideo.files import write_atomic
from kdvideo.training import accuracy

SCRATCH = Config(
    input=Input(frames=16, fps=10.0, short_side=72, crop=64, flow_bound=5.0, test_frames=0, test_views=3),
    optimizer=Optimizer(
        name="adamw", steps=300, batch_size=16, reference_batch=16, lr=3e-3, warmup=0.05, weight_decay=0.02
    ),
    network=Network(depth_multiplier=0.25, fast_start=True),
    num_workers=0,
    in_memory=True,
    checkpointing_steps=100,
)
FROZEN = ("stem", "network.bn1", "blocks.0", "blocks.1", "blocks.2")  # half the cost of a step
STARTED = dataclasses.replace(
    SCRATCH,
    input=Input(frames=8, fps=6.0, short_side=112, crop=96, flow_bound=10.0, test_frames=0, test_views=3),
    optimizer=Optimizer(
        name="adamw", steps=200, batch_size=8, reference_batch=8, lr=5e-4, warmup=0.1, weight_decay=0.02
    ),
    network=Network(fast_start=True, init="imagenet", frozen=FROZEN),
)
SETTINGS = {"imagenet": STARTED, "scratch": SCRATCH}
DEVELOPMENT = 0  # the fold whose sequences chose STARTED, after trainings on all others
REPORTED = ut_interaction_record.REPORTED
MEMBERS = {
    "RGB": (RGB,),
    "Flow": (FLOW,),
    "RGB+Flow": (RGB, FLOW),
    "D3D": (D3D,),
    "D3D+RGB": (D3D, RGB),
    "MARS": (MARS,),
    "MARS+RGB": (MARS, RGB),
}


def sequence(row: dict[str, Any]) -> int:
    """Return the sequence of a clip: the second number of its file name."""
    return int(Path(row["clip"]).stem.split("_")[1])


def fold_of(row: dict[str, Any]) -> int:
    """Return the fold that holds a clip's sequence out; sequences 1 to 10 are of set 1, 11 to 20 of set 2."""
    return sequence(row) % 10 // 2


def fold_files(root: Path, folder: Path, fold: int) -> tuple[Path, Path]:
    """Write the csv files of one fold: (training, test)."""
    parts = [_sorted_rows(root / name, root) for name in ("set1", "set2")]
    rows = [row for part in parts for row in part]
    held = {row["clip"] for row in rows if fold_of(row) == fold}
    train, test = ([r for r in rows if (r["clip"] in held) == side] for side in (False, True))
    files = folder / f"fold{fold}_train.csv", folder / f"fold{fold}_test.csv"
    for file, chosen in zip(files, (train, test), strict=True):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("path", "label"), *((r["clip"], r["label"]) for r in chosen)])
        write_atomic(file, text.getvalue().encode())  # several processes may write the same fold
    return files


def _sorted_rows(folder: Path, root: Path) -> list[dict[str, Any]]:
    manifest = data.from_folder(folder)
    name = manifest.features["label"].int2str
    return [{"clip": f"{folder.name}/{row['clip']}", "label": name(row["label"])} for row in manifest]


def fold_config(settings: Config, clips: Path, work_dir: Path, fold: int) -> Config:
    """Return settings with the clips of one fold."""
    train, test = fold_files(clips, work_dir / "ut_interaction", fold)
    return dataclasses.replace(settings, train=train, test=test, root=clips, work_dir=work_dir)


def measure(lab: Lab, seed: int) -> dict[str, float]:
    """Train every method of one fold, or read it back; return the top-1 of each mean softmax."""
    scores = {method: lab.scores(lab.train(method, seed)) for method in (FLOW, RGB, D3D, MARS)}
    mixed = {name: torch.stack([scores[one] for one in members]).mean(0) for name, members in MEMBERS.items()}
    return {name: accuracy(one, lab.labels) for name, one in mixed.items()}


def main(options: argparse.Namespace) -> None:
    """Run folds and seeds, and write the record after each fold."""
    if not options.clips.is_dir():
        raise SystemExit(f"error: no folder {options.clips}; give the UT-Interaction clips with --clips")
    torch.set_num_threads(options.threads)
    settings = SETTINGS[options.start]
    accelerator = make_accelerator(settings)
    known = ut_interaction_record.measured(options.start, settings, options.seeds)
    cells = {name: known.get(name, {}) for name in MEMBERS}
    for fold in options.folds:
        lab = Lab(fold_config(settings, options.clips, options.work_dir, fold), accelerator)
        for of in cells.values():
            of.pop(f"fold {fold}", None)  # measured anew
        for seed in options.seeds:
            for name, value in measure(lab, seed).items():
                cells[name].setdefault(f"fold {fold}", []).append(value)
        print(f"fold {fold}", {name: cells[name][f"fold {fold}"] for name in MEMBERS}, flush=True)
        if accelerator.is_main_process and len(cells["RGB"]) > 1:  # one fold has no spread
            share = len(lab.clips.test) / len(lab.clips.train)
            result = ut_interaction_record.summary(cells, share, settings, options.seeds)
            record.update("ut_interaction", options.start, result, ut_interaction_record.render)


if __name__ == "__main__":
    main(options)
