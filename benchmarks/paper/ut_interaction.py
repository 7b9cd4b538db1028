"""D3D on the real clips of UT-Interaction: folds that leave whole sequences out, several seeds each.

    python -m benchmarks.paper.ut_interaction --clips ../shared/data/ut_interaction

120 clips, 6 classes; file names are index_sequence_class.avi and a fold holds out every third sequence. Clip length
and frame geometry leak the class in this data set, so windows have a fixed length, frames are resized isotropically
and cropped at the centre. The settings are the pocket preset's, with fewer steps and frames at 10 fps, fixed before
anything was trained on this data set.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import markdown, record
from examples.d3d import report
from examples.d3d.config import Config, Input, Network, Optimizer
from examples.d3d.data import open_clips
from examples.d3d.report import Trained
from examples.d3d.run import one_seed
from examples.d3d.training import make_accelerator
from kdvideo import data
from kdvideo.files import write_atomic
from kdvideo.training import accuracy, environment, mean_and_standard_error

SETTINGS = Config(
    input=Input(frames=8, fps=6.0, short_side=112, crop=96, flow_bound=10.0, test_frames=0, test_views=3),
    optimizer=Optimizer(
        name="adamw", steps=48, batch_size=8, reference_batch=8, lr=1e-3, warmup=0.1, weight_decay=0.02
    ),
    network=Network(fast_start=True, init="imagenet", frozen=("stem", "network.bn1", "blocks.0", "blocks.1", "blocks.2")),
    num_workers=0,
    in_memory=True,
    checkpointing_steps=1000,
)
FOLDS = 10
DEVELOPMENT = (0, 1)  # folds whose sequences chose the settings, after trainings on all others
REPORTED = tuple(fold for fold in range(FOLDS) if fold not in DEVELOPMENT)
REFERENCES = {"chance": 1 / 6, "HOG + linear SVM": 0.71, "flow histograms + linear SVM": 0.80, "both + SVM": 0.84}


def sequence(row: dict[str, Any]) -> int:
    """Return the sequence of a clip: the second number of its file name."""
    return int(Path(row["clip"]).stem.split("_")[1])


def fold_files(root: Path, folder: Path, folds: Sequence[int]) -> tuple[Path, Path]:
    """Write the csv files that hold some folds out: (training, test)."""
    parts = [_sorted_rows(root / name, root) for name in ("set1", "set2")]
    rows = [row for part in parts for row in part]
    held = {row["clip"] for row in rows if sequence(row) % FOLDS in folds}
    train, test = ([r for r in rows if (r["clip"] in held) == side] for side in (False, True))
    name = "fold" + "_".join(map(str, folds))
    files = folder / f"{name}_train.csv", folder / f"{name}_test.csv"
    for file, chosen in zip(files, (train, test), strict=True):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("path", "label"), *((r["clip"], r["label"]) for r in chosen)])
        write_atomic(file, text.getvalue().encode())  # several processes may write the same fold
    return files


def _sorted_rows(folder: Path, root: Path) -> list[dict[str, Any]]:
    manifest = data.from_folder(folder)
    name = manifest.features["label"].int2str
    return [{"clip": f"{folder.name}/{row['clip']}", "label": name(row["label"])} for row in manifest]


def fold_config(clips: Path, work_dir: Path, *folds: int) -> Config:
    """Return the settings with some folds held out."""
    train, test = fold_files(clips, work_dir / "ut_interaction", folds)
    return dataclasses.replace(SETTINGS, train=train, test=test, root=clips, work_dir=work_dir)


def top1(trained: list[Trained], label: torch.Tensor, members: tuple[str, ...]) -> list[float]:
    """Compute the accuracy of the mean softmax of some networks, one number a seed."""
    return [accuracy(torch.stack([one.scores[m] for m in members]).mean(0), label) for one in trained]


def main() -> None:
    """Run all folds and seeds and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/ut_interaction"))
    parser.add_argument("--work-dir", type=Path, default=Path("runs"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    if not options.clips.is_dir():
        raise SystemExit(f"error: no folder {options.clips}; give the UT-Interaction clips with --clips")
    accelerator = make_accelerator(SETTINGS)
    cells: dict[str, dict[str, list[float]]] = {method: {} for method in report.METHODS}
    for fold in options.folds:
        config = fold_config(options.clips, options.work_dir, fold)
        clips = open_clips(config)
        trained = [one_seed(config, clips, seed, accelerator) for seed in options.seeds]
        for method, members in report.METHODS.items():
            cells[method][f"fold {fold}"] = top1(trained, torch.tensor(clips.test["label"]), members)
            print(f"fold {fold}", method, cells[method][f"fold {fold}"], flush=True)
    if accelerator.is_main_process:
        record.write("ut_interaction", summary(cells, options), render)


def summary(cells: dict[str, dict[str, list[float]]], options: argparse.Namespace) -> dict[str, Any]:
    """Compute the mean over all folds and seeds with its standard error, and paired differences."""
    flat = {method: [value for fold in folds.values() for value in fold] for method, folds in cells.items()}
    rows = []
    for method, values in flat.items():
        mean, error = mean_and_standard_error(values)
        rows.append({"method": method, "top1": cells[method], "mean": mean, "standard_error": error})
    differences = {}
    for left, right in (("D3D", "S3D-G RGB"), ("S3D-G Flow", "S3D-G RGB"), ("D3D+S3D-G RGB", "D3D")):
        paired = [a - b for a, b in zip(flat[left], flat[right], strict=True)]
        mean, error = mean_and_standard_error(paired)
        differences[f"{left} - {right}"] = {"mean": mean, "standard_error": error, "paired": paired}
    config = json.loads(json.dumps(dataclasses.asdict(SETTINGS), default=str))
    kept = {key: config[key] for key in ("input", "optimizer", "network", "distill_weight", "class_reduction")}
    return {
        "rows": rows,
        "differences": differences,
        "references": REFERENCES,
        "seeds": options.seeds,
        "folds": options.folds,
        "data": "UT-Interaction, 120 clips, whole sequences left out",
        "config": kept,
        "environment": environment("python -m benchmarks.paper.ut_interaction"),
    }


def render(result: dict[str, Any]) -> str:
    """Render the table; every number comes from `result`."""
    folds, seeds = len(result["folds"]), len(result["seeds"])
    lines = [
        f"UT-Interaction (real video, 6 classes), {folds} folds × {seeds} seeds, whole sequences held out. "
        f"Mean top-1 ± standard error over the {folds * seeds} trainings.",
        "",
    ]
    cells = []
    for row in result["rows"]:
        each = " / ".join(f"{100 * sum(v) / len(v):.1f}" for v in row["top1"].values())
        cells.append([row["method"], f"{100 * row['mean']:.1f} ± {100 * row['standard_error']:.1f}", each])
    cells += [[f"*{name} (reference)*", f"{100 * value:.0f}", ""] for name, value in result["references"].items()]
    lines += [*markdown.table(["method", "top-1", "each fold (mean of its seeds)"], cells), ""]
    for name, value in result["differences"].items():
        lines.append(f"- {name}: {100 * value['mean']:+.1f} ± {100 * value['standard_error']:.1f} points, paired")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
