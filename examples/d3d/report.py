"""report.json, report.md and the student's file from what was measured."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset

from examples.d3d import clips, figures
from examples.d3d.config import Config
from examples.d3d.timing import inference_cost
from kdvideo import models
from kdvideo.training import accuracy, confusion_matrix, mean_and_standard_error

if TYPE_CHECKING:
    from examples.d3d.run import Trained

METHODS = {
    "S3D-G RGB": ("S3D-G RGB",),
    "S3D-G Flow": ("S3D-G Flow",),
    "S3D-G RGB+Flow": ("S3D-G RGB", "S3D-G Flow"),
    "D3D": ("D3D",),
    "D3D+S3D-G RGB": ("D3D", "S3D-G RGB"),
}
PICTURES = ("losses.png", "confusion.png", "clips.png")
PACKAGES = ("torch", "kdvideo", "accelerate", "av", "numpy")


def write(config: Config, trained: list[Trained], train: Dataset, test: Dataset) -> None:
    """Write everything that a run leaves in ``output_dir``."""
    folder = config.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    result = measure(config, trained, train, test)
    (folder / "report.json").write_text(json.dumps(result, indent=2))
    shutil.copyfile(trained[0].weights["D3D"], folder / "student.safetensors")
    figures.loss_curves(trained, folder / PICTURES[0])
    figures.confusion(result["confusion"], result["classes"], folder / PICTURES[1])
    figures.contact_sheet(config, trained[0], test, folder / PICTURES[2])
    (folder / "report.md").write_text(markdown(result))
    print(f"\n# D3D report\n\n{table(result)}\nreport, pictures and student.safetensors are in {folder}")


def measure(config: Config, trained: list[Trained], train: Dataset, test: Dataset) -> dict[str, Any]:
    """The numbers of the report."""
    label, classes = torch.tensor(test["label"]), test.features["label"].names
    networks = {name: models.checkpoints.load(path)[0] for name, path in trained[0].weights.items()}
    rows = [_row(config, method, trained, label, networks) for method in METHODS]
    top1 = {row["method"]: row["top1"] for row in rows}
    predicted = torch.cat([one.scores["D3D"].argmax(1) for one in trained])
    return {
        "rows": rows,
        "comparisons": {
            f"{a} - {b}": _difference(top1[a], top1[b])
            for a, b in (("D3D", "S3D-G RGB"), ("S3D-G Flow", "S3D-G RGB"), ("D3D+S3D-G RGB", "D3D"))
        },
        "inference": inference_cost(config, networks),
        "confusion": confusion_matrix(predicted, label.repeat(len(trained)), len(classes)).tolist(),
        "classes": classes,
        "seeds": [one.seed for one in trained],
        "clips": {"train": len(train), "test": len(test)},
        "data": "synthetic" if config.train is None else f"{config.train.name} / {Path(str(config.test)).name}",
        "data_fingerprint": {"train": clips.fingerprint(train), "test": clips.fingerprint(test)},
        "config": json.loads(json.dumps(asdict(config), default=str)),
        "environment": environment(),
    }


def _row(config: Config, method: str, trained: list[Trained], label: torch.Tensor, networks: Any) -> dict[str, Any]:
    members = METHODS[method]
    mixed = [torch.stack([one.scores[member] for member in members]).mean(0) for one in trained]
    top1 = [accuracy(scores, label) for scores in mixed]
    mean, error = mean_and_standard_error(top1)
    correct = torch.stack([scores.argmax(1) == label for scores in mixed]).double().mean(0)
    return {
        "method": method,
        "needs_flow": any("Flow" in member for member in members),
        "top1": top1,
        "mean": mean,
        "standard_error": error,
        "per_class": [float(correct[label == k].mean()) for k in sorted(set(label.tolist()))],
        "parameters": sum(p.numel() for member in members for p in networks[member].parameters()),
        "multiply_adds": sum(_multiply_adds(config, networks[member]) for member in members),
    }


def _multiply_adds(config: Config, network: Any) -> int:
    view = config.input
    return models.multiply_adds(network, torch.empty(1, network.in_channels, view.frames, view.crop, view.crop))


def _difference(left: list[float], right: list[float]) -> dict[str, Any]:
    paired = [a - b for a, b in zip(left, right, strict=True)]
    mean, error = mean_and_standard_error(paired)
    return {"paired": paired, "mean": mean, "standard_error": error, "above_two_standard_errors": mean > 2 * error}


def environment(module: str = "examples.d3d.run") -> dict[str, Any]:
    """What a number depends on besides the settings."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    return {
        "date": date.today().isoformat(),
        "commit": commit or None,
        "command": " ".join(["python", "-m", module, *sys.argv[1:]]),
        "hardware": f"{device}, {torch.get_num_threads()} threads",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def markdown(result: dict[str, Any]) -> str:
    """The report as Markdown; every number comes from ``result``."""
    pictures = "\n".join(f"![{Path(name).stem}]({name})" for name in PICTURES)
    return f"# D3D report\n\n{table(result)}\n{per_class(result)}\n{pictures}\n"


def per_class(result: dict[str, Any]) -> str:
    """Top-1 of every class that has test clips, the mean over the seeds."""
    tested = [name for name, row in zip(result["classes"], result["confusion"], strict=True) if sum(row)]
    lines = ["Top-1 of every class, in per cent:", "", f"| method | {' | '.join(tested)} |"]
    lines.append("|---" * (len(tested) + 1) + "|")
    for row in result["rows"]:
        lines.append(f"| {row['method']} | {' | '.join(f'{100 * value:.1f}' for value in row['per_class'])} |")
    return "\n".join([*lines, ""])


def table(result: dict[str, Any]) -> str:
    """Its table and its sentences."""
    seeds = result["seeds"]
    lines = [
        f"Data: {result['data']}, {result['clips']['train']} training and {result['clips']['test']} test clips, "
        f"{len(result['classes'])} classes; seeds {', '.join(map(str, seeds))}. "
        "Top-1 on the test clips, in per cent, is the mean over the seeds ± its standard error.",
        "",
        "| method | needs flow | top-1 | parameters | multiply-adds |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['method']} | {'yes' if row['needs_flow'] else 'no'} | {_spread(row)} "
            f"| {row['parameters'] / 1e6:.2f} M | {row['multiply_adds'] / 1e9:.2f} G |"
        )
    lines += ["", *(_sentence(name, value) for name, value in result["comparisons"].items())]
    return "\n".join([*lines, "", _cost(result["inference"]), ""])


def _spread(row: dict[str, Any]) -> str:
    error = f" ± {100 * row['standard_error']:.1f}" if len(row["top1"]) > 1 else ""
    return f"{100 * row['mean']:.1f}{error}"


def _sentence(name: str, value: dict[str, Any]) -> str:
    if len(value["paired"]) < 2:
        return f"- {name}: {100 * value['mean']:+.1f} points (one seed: no spread)"
    verdict = "more than" if value["above_two_standard_errors"] else "not more than"
    return (
        f"- {name}: {100 * value['mean']:+.1f} ± {100 * value['standard_error']:.1f} points, "
        f"{verdict} two standard errors above 0 ({len(value['paired'])} paired seeds)"
    )


def _cost(cost: dict[str, Any]) -> str:
    return (
        f"Inference of one clip, relative to D3D in the same run: two-stream with its TV-L1 flow "
        f"{cost['two_stream']['median']:.1f}× ({cost['two_stream']['min']:.1f}–{cost['two_stream']['max']:.1f}), "
        f"of which flow {cost['flow']['median']:.1f}×; "
        f"D3D against itself {cost['control']['median']:.2f}× "
        f"({cost['control']['min']:.2f}–{cost['control']['max']:.2f})."
    )
