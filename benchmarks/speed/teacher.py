"""Measure what an early exit of the teacher saves, and the peak memory of a step with two tapped layers.

Time: student and teacher of six blocks, the teacher twice as wide; the loss is on the feature after the second block.
Every round runs, in random order, the step with the early exit once and the step with the whole teacher twice (A/A).
Memory: the networks of `benchmarks.speed.core`, through the wrappers and by hand; the highest sum of the bytes
that PyTorch's profiler sees allocated less those freed during one step, after three steps. It does not see what lives
before the step (weights), nor memory that is not PyTorch's.

    python -m benchmarks.speed.teacher
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="that alternate between what is compared")
    parser.add_argument("--steps", type=int, default=3, help="steps per arm and round")
    parser.add_argument("--size", type=int, default=16, help="height and width of a clip")
    options = parser.parse_args()

import itertools
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import kdvideo as kd
from benchmarks import record
from benchmarks.markdown import table
from benchmarks.speed import core
from benchmarks.speed.core_networks import SUBJECTS
from kdvideo.training import Timings

BLOCKS, TAPPED = 6, 2
LIMIT_TIME, LIMIT_MEMORY = 0.85, 1.02


def network(channels: int, width: int) -> nn.Sequential:
    """Build a network of six blocks and a head, from clips (B,C,T,H,W) to logits (B,10)."""
    torch.manual_seed(0)
    widths = [channels, *[width] * BLOCKS]
    blocks = [
        nn.Sequential(nn.Conv3d(before, after, 3, padding=1), nn.BatchNorm3d(after), nn.ReLU())
        for before, after in itertools.pairwise(widths)
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(width, 10))


def training_step(rgb: Tensor, flow: Tensor, *, early_exit: bool) -> Callable[[], Tensor]:
    """Return one step of a loss on the feature at a third of the depth."""
    layers = {str(TAPPED - 1): "third"}
    net = network(3, 8)
    student = kd.Student(net, layers, projectors={"third": kd.projectors.conv(8, 16)})
    teacher_net = network(2, 16)
    teacher = kd.Teacher(teacher_net, layers, logits=None, early_exit=True) if early_exit else None
    teacher = teacher or kd.Teacher(teacher_net, layers)
    criterion = kd.FeatureMSE("third")
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01)

    def step() -> Tensor:
        s, t = student(rgb), teacher(flow)
        assert s.logits is not None
        loss: Tensor = nn.functional.cross_entropy(s.logits, core.LABEL) + criterion(s, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def measure_time(rounds: int, steps: int, size: int) -> dict[str, list[float]]:
    """Measure the CPU seconds per step of every arm in every round."""
    rgb, flow = torch.randn(4, 3, 4, size, size), torch.randn(4, 2, 4, size, size)
    arms = {
        "early exit": training_step(rgb, flow, early_exit=True),
        "whole teacher": training_step(rgb, flow, early_exit=False),
        "whole teacher again": training_step(rgb, flow, early_exit=False),
    }
    losses = {name: [step().item() for _ in range(3)] for name, step in arms.items()}
    assert losses["early exit"] == losses["whole teacher"], losses
    repeated = {name: partial(_repeat, step, steps) for name, step in arms.items()}
    times = Timings(repeated, rounds, warm=1, quiet=True, shuffle=True)
    return {name: [seconds / steps for seconds in spent] for name, spent in times.cpu.items()}


def _repeat(step: Callable[[], Tensor], steps: int) -> None:
    for _ in range(steps):
        step()


def peak_bytes(step: Callable[[], Tensor]) -> int:
    """Measure the highest sum of allocated less freed bytes during a step."""
    _repeat(step, 3)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = [event for event in json.loads(path.read_text())["traceEvents"] if event["name"] == "[memory]"]
    changes = [int(event["args"]["Bytes"]) for event in sorted(events, key=lambda event: event["ts"])]
    return max(itertools.accumulate(changes))


def measure_memory() -> dict[str, dict[str, int]]:
    """Measure the peak of a step through the wrappers and by hand, on every network of `benchmarks.speed.core`."""
    found = {}
    for name, subject in SUBJECTS.items():
        inputs = subject.inputs()
        arms = {"kdvideo": core.wrapped, "by hand": core.by_hand}
        found[name] = {arm: peak_bytes(build(subject, *inputs)) for arm, build in arms.items()}
    return found


def report(
    spent: dict[str, list[float]], peaks: dict[str, dict[str, int]], options: argparse.Namespace
) -> dict[str, Any]:
    """Return what is recorded."""
    return {
        "benchmark": "speed_teacher",
        "early_exit_over_whole": core.ratios(spent["early exit"], spent["whole teacher"]),
        "whole_over_whole": core.ratios(spent["whole teacher again"], spent["whole teacher"]),
        "peak_bytes": peaks,
        "peak_over_by_hand": {name: round(one["kdvideo"] / one["by hand"], 4) for name, one in peaks.items()},
        "limits": {"time": LIMIT_TIME, "memory": LIMIT_MEMORY},
        **{name: getattr(options, name) for name in ("rounds", "steps", "size")},
        **record.environment("python -m benchmarks.speed.teacher", torch.get_num_threads()),
    }


def markdown(result: dict[str, Any]) -> str:
    """Render the record as two sentences."""
    early, control, peaks = result["early_exit_over_whole"], result["whole_over_whole"], result["peak_bytes"]
    cells = [
        [
            SUBJECTS[name].text,
            *(f"{peaks[name][arm] / 1e6:.3f}" for arm in ("kdvideo", "by hand")),
            f"{result['peak_over_by_hand'][name]:.3f}×",
        ]
        for name in peaks
    ]
    lines = [
        "Training step with a tap at a third of the depth of a teacher twice as wide as the student, early exit "
        f"relative to the whole teacher, {result['rounds']} rounds interleaved: {early['median']:.3f}× (quartiles "
        f"{early['quartile_low']:.3f}–{early['quartile_high']:.3f}); the whole teacher against itself "
        f"{control['median']:.3f}× ({control['quartile_low']:.3f}–{control['quartile_high']:.3f}).",
        "",
        "Peak memory of a step with two tapped layers in MB, as PyTorch's profiler counts it. The `Output` holds the "
        "projected feature to the end of the step, which shows where the network is hardly larger than that:",
        "",
        *table(["network", "kdvideo", "by hand", "kdvideo ÷ by hand"], cells),
    ]
    return "\n".join([*lines, ""])


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    spent = measure_time(options.rounds, options.steps, options.size)
    record.write("speed_teacher", report(spent, measure_memory(), options), markdown)


if __name__ == "__main__":
    main(options)
