"""The report of a run: `report.json`, `report.md`, its pictures and the student's file."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from examples.d3d import clip_pictures, comparison, figures, significance
from examples.d3d.config import Config
from examples.d3d.data import Clips, fingerprint
from examples.d3d.significance import ABOVE_ZERO, Decision
from examples.d3d.train_teacher import WEIGHTS
from kdvideo import flow, models
from kdvideo.training import Timings, accuracy, confusion_matrix, environment, mean_and_standard_error, spread_of

METHODS = {
    "S3D-G RGB": ("S3D-G RGB",),
    "S3D-G Flow": ("S3D-G Flow",),
    "S3D-G RGB+Flow": ("S3D-G RGB", "S3D-G Flow"),
    "D3D": ("D3D",),
    "D3D+S3D-G RGB": ("D3D", "S3D-G RGB"),
}
TAUGHT_BY = {"D3D": "S3D-G Flow"}
COMPARISONS = (("D3D", "S3D-G RGB"), ("S3D-G Flow", "S3D-G RGB"), ("D3D+S3D-G RGB", "D3D"))
PICTURES = {
    "accuracy.png": "accuracy of every method with its interval",
    "losses.png": "losses, and accuracy on the test clips, over the steps",
    "confusion.png": "confusion matrices of RGB alone and D3D",
    "clips.png": "clips, their flow, and what the networks say",
    "activation.png": "where the student sees the class before and after distillation",
}


@dataclass(frozen=True)
class Trained:
    """The three networks of one seed by the paper's names, and their scores (clips, K) on the test clips."""

    seed: int
    networks: dict[str, models.Network]
    scores: dict[str, Tensor]


def write(config: Config, clips: Clips, trained: list[Trained]) -> None:
    """Write everything that a run leaves in `output_dir`."""
    folder = config.output_dir
    result = measure(config, clips, trained)
    (folder / "report.json").write_text(json.dumps(_plain(result), indent=2, allow_nan=False))
    shutil.copyfile(config.folder(trained[0].seed, "d3d") / WEIGHTS, folder / "student.safetensors")
    figures.accuracies(result, folder / "accuracy.png")
    figures.loss_curves(config, folder / "losses.png")
    confused = {"S3D-G RGB": result["confusion_rgb"], "D3D": result["confusion"]}
    figures.confusion(confused, result["classes"], folder / "confusion.png")
    clip_pictures.contact_sheet(clips, trained[0].scores, folder / "clips.png")
    clip_pictures.activations(clips, trained[0].networks, trained[0].scores, folder / "activation.png")
    (folder / "report.md").write_text(markdown(result))
    print(f"\n# D3D report\n\n{table(result)}\nreport, pictures and student.safetensors are in {folder}")
    student, clip = shlex.quote(str(folder / "student.safetensors")), shlex.quote(str(clips.test[0]["path"]))
    print(f"next: {command()} predict --weights {student} {clip}")
    print(f"  or: {command()} demo {student}  # a page to drop clips on; needs kdvideo[demo]")


def command() -> str:
    """Return the command `kdvideo` as this shell finds it: `make` leaves it in an environment that is not active."""
    return "kdvideo" if shutil.which("kdvideo") else os.path.relpath(Path(sys.executable).parent / "kdvideo")


def _plain(value: Any) -> Any:
    """Return what JSON can hold: null for a number that is none, such as the error of a single seed."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def measure(config: Config, clips: Clips, trained: list[Trained]) -> dict[str, Any]:
    """Compute the numbers of the report."""
    label, networks = torch.tensor(clips.test["label"]), trained[0].networks
    rows = [_row(method, clips, trained, label) for method in METHODS]
    command = " ".join(["python", "-m", "examples.d3d.run", *sys.argv[1:]])
    return {
        "rows": rows,
        "comparisons": comparisons({row["method"]: row["top1"] for row in rows}),
        "clip_errors": clip_errors(trained[0], label),
        "inference": inference_cost(clips, networks),
        "confusion": _confusion("D3D", trained, label, len(clips.classes)),
        "confusion_rgb": _confusion("S3D-G RGB", trained, label, len(clips.classes)),
        "classes": clips.classes,
        "seeds": [one.seed for one in trained],
        "clips": {"train": len(clips.train), "test": len(clips.test)},
        "data": "synthetic" if config.train is None else f"{config.train.name} / {Path(str(config.test)).name}",
        "data_fingerprint": {"train": fingerprint(clips.train), "test": fingerprint(clips.test)},
        "config": json.loads(json.dumps(asdict(config), default=str)),
        "environment": environment(command),
    }


def _confusion(name: str, trained: list[Trained], label: Tensor, classes: int) -> Any:
    predicted = torch.cat([one.scores[name].argmax(1) for one in trained])
    return confusion_matrix(predicted, label.repeat(len(trained)), classes).tolist()


def _row(method: str, clips: Clips, trained: list[Trained], label: Tensor) -> dict[str, Any]:
    members, view = METHODS[method], clips.input
    mixed = [_mixed(one, method) for one in trained]
    top1 = [accuracy(scores, label) for scores in mixed]
    mean, error = mean_and_standard_error(top1)
    correct = torch.stack([scores.argmax(1) == label for scores in mixed]).double().mean(0)
    networks = [trained[0].networks[member] for member in members]
    shape = (view.frames, view.crop, view.crop)
    return {
        "method": method,
        "needs_flow": any("Flow" in member for member in members),
        "top1": top1,
        "mean": mean,
        "standard_error": error,
        "per_class": [float(correct[label == k].mean()) for k in sorted(set(label.tolist()))],
        "parameters": sum(p.numel() for one in networks for p in one.parameters()),
        "multiply_adds": sum(models.multiply_adds(one, torch.empty(1, one.in_channels, *shape)) for one in networks),
    }


def comparisons(top1: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Compare methods by their accuracies at each seed, in points, and say whether the first is shown to be better.

    Methods that use one trained network, be it as a teacher, are paired by seed; all others are independent.
    """
    found = {}
    for names in COMPARISONS:
        first, second = ({str(k): 100 * value for k, value in enumerate(top1[name])} for name in names)
        shared = _networks(names[0]) & _networks(names[1])
        found[names] = comparison.compare(first, second, names=names, paired=bool(shared))
    decided = significance.decide({names: ([one], ABOVE_ZERO) for names, one in found.items()})
    return [asdict(one) | {"decision": decided[names]._asdict()} for names, one in found.items()]


def clip_errors(trained: Trained, label: Tensor) -> list[float]:
    """Compute the standard error of every comparison that the choice of test clips alone gives one seed, in points."""
    right = {name: _mixed(trained, name).argmax(1) == label for name in METHODS}
    gained = [right[first].double() - right[second].double() for first, second in COMPARISONS]
    return [100 * float(one.std(correction=0)) / len(label) ** 0.5 for one in gained]


def _mixed(trained: Trained, method: str) -> Tensor:
    """Average the scores of a method's networks."""
    return torch.stack([trained.scores[member] for member in METHODS[method]]).mean(0)


def _networks(method: str) -> set[str]:
    members = set(METHODS[method])
    return members | {TAUGHT_BY[member] for member in members if member in TAUGHT_BY}


@torch.no_grad()
def inference_cost(clips: Clips, networks: dict[str, models.Network], *, rounds: int = 9) -> dict[str, Any]:
    """Time one clip relative to D3D, side by side, with D3D against itself as the control."""
    view, device = clips.input, next(networks["D3D"].parameters()).device
    shape = (view.frames, view.crop, view.crop)
    rgb, uv = (torch.randn(1, channels, *shape, device=device) for channels in (3, 2))
    frames = torch.randint(0, 256, (view.frames + 1, 3, view.crop, view.crop), dtype=torch.uint8, device=device)
    arms = {
        "d3d": lambda: networks["D3D"](rgb),
        "control": lambda: networks["D3D"](rgb),
        "flow": lambda: flow.tvl1(frames, preset=clips.estimator.preset),
        "streams": lambda: (networks["S3D-G RGB"](rgb), networks["S3D-G Flow"](uv)),
    }
    times = Timings(arms, rounds, quiet=True)
    times.wall["two_stream"] = [a + b for a, b in zip(times.wall["flow"], times.wall["streams"], strict=True)]
    result: dict[str, Any] = {name: times.cost(name, "d3d") for name in ("control", "flow", "streams", "two_stream")}
    if device.type == "cuda":
        milliseconds = {name: spread_of([1e3 * value for value in values]) for name, values in times.wall.items()}
        result["milliseconds"] = {name: value["median"] for name, value in milliseconds.items()}
    return result


def markdown(result: dict[str, Any]) -> str:
    """Render the report as Markdown; every number comes from `result`."""
    first, *others = (f"![{text}]({name})" for name, text in PICTURES.items())
    pictures = "\n".join(others)
    return f"# D3D report\n\n{first}\n\n{table(result)}\n{per_class(result)}\n{pictures}\n"


def per_class(result: dict[str, Any]) -> str:
    """Render top-1 of every class that has test clips, the mean over the seeds where there are several."""
    tested = [name for name, row in zip(result["classes"], result["confusion"], strict=True) if sum(row)]
    lines = ["Top-1 of every class, in per cent:", "", f"| method | {' | '.join(tested)} |"]
    lines.append("|---" * (len(tested) + 1) + "|")
    for row in result["rows"]:
        lines.append(f"| {row['method']} | {' | '.join(f'{100 * value:.1f}' for value in row['per_class'])} |")
    return "\n".join([*lines, ""])


def table(result: dict[str, Any]) -> str:
    """Render the table and the sentences of a report."""
    seeds = result["seeds"]
    lines = [
        f"Data: {result['data']}, {result['clips']['train']} training and {result['clips']['test']} test clips, "
        f"{len(result['classes'])} classes; {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}. "
        f"Top-1 on the test clips, in per cent{', mean over the seeds ± standard error' if len(seeds) > 1 else ''}.",
        "",
        "| method | needs flow | top-1 | parameters | multiply-adds |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['method']} | {'yes' if row['needs_flow'] else 'no'} | {_spread(row)} "
            f"| {row['parameters'] / 1e6:.2f} M | {row['multiply_adds'] / 1e9:.2f} G |"
        )
    errors = result["clip_errors"]
    lines += ["", *(_sentence(one, error) for one, error in zip(result["comparisons"], errors, strict=True))]
    return "\n".join([*lines, "", _cost(result["inference"]), ""])


def _spread(row: dict[str, Any]) -> str:
    error = f" ± {100 * row['standard_error']:.1f}" if len(row["top1"]) > 1 else ""
    return f"{100 * row['mean']:.1f}{error}"


def _sentence(found: dict[str, Any], clip_error: float) -> str:
    one = comparison.Comparison(**{name: value for name, value in found.items() if name != "decision"})
    decision = Decision(**found["decision"])
    if max(one.runs) < 2:
        clips = f"± {1.96 * clip_error:.1f} by the choice of test clips alone (95 %)"
        return f"- {one.first} − {one.second}: {one.mean:+.1f} points, one seed, {clips}; other seeds differ besides"
    interval = "" if one.low is None else f"; 95 % interval {one.low:+.1f} to {one.high:+.1f} points"
    corrected = "" if decision.p_value is None else f" (p = {decision.p_value:.2g} after Holm's correction)"
    at = f"{one.mean:+.1f} points"
    return f"- {one.words()}{interval}. {one.first} better: {decision.words(at)}{corrected}."


def _cost(cost: dict[str, Any]) -> str:
    return (
        f"Inference of one clip, relative to D3D in the same run: two-stream with its TV-L1 flow "
        f"{cost['two_stream']['median']:.1f}× ({cost['two_stream']['min']:.1f}–{cost['two_stream']['max']:.1f}), "
        f"of which flow {cost['flow']['median']:.1f}×; "
        f"D3D against itself {cost['control']['median']:.2f}× "
        f"({cost['control']['min']:.2f}–{cost['control']['max']:.2f})."
    )
