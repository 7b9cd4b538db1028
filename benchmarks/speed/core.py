"""Measure the overhead of the wrappers: a distillation step through kdvideo beside the same step written by hand.

Two tapped layers, a projector, cross-entropy, the error of logits and of features, backward pass and optimizer: on a
micro network, where every microsecond of Python shows, on one of 168 modules, and on S3D-G. Every round runs, in random
order, the wrapper once and the hand-written loop twice; ratios are formed within a round, and the ratio of the two
hand-written runs (A/A) shows how much the machine itself varies. Seconds are CPU seconds of one thread. With `--peers`
the same step of the micro network through torchdistill and ModelOpt, which must be installed, runs in the same rounds.

    python -m benchmarks.speed.core
    python -m benchmarks.speed.core --peers
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="that alternate between what is compared")
    names = ["micro", "deep", "s3dg"]
    parser.add_argument("--networks", nargs="+", choices=names, default=names, help="some of the networks")
    parser.add_argument("--peers", action="store_true", help="torchdistill and ModelOpt too, on the micro network")
    options = parser.parse_args()

import random
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import kdvideo as kd
from benchmarks import record
from benchmarks.markdown import table
from benchmarks.peers.sources import PACKAGES
from benchmarks.speed.core_networks import SUBJECTS, Subject
from benchmarks.speed.core_peers import PEERS
from kdvideo.training import Timings

LIMIT = 1.02
LABEL = torch.tensor([0, 1, 2, 3])


def by_hand(subject: Subject, rgb: Tensor, flow: Tensor) -> Callable[[], Tensor]:
    """Return one step of the loop without kdvideo."""
    student, teacher, projector = subject.networks()
    teacher.eval().requires_grad_(False)
    optimizer = torch.optim.SGD([*student.parameters(), *projector.parameters()], lr=0.01)

    def step() -> Tensor:
        with torch.no_grad():
            target, target_low, target_high = subject.with_features(teacher, flow)
        logits, low, high = subject.with_features(student, rgb)
        loss = F.cross_entropy(logits, LABEL) + F.mse_loss(logits, target)
        loss = loss + 0.5 * F.mse_loss(projector(low), target_low) + 0.5 * F.mse_loss(high, target_high)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def wrapped(subject: Subject, rgb: Tensor, flow: Tensor) -> Callable[[], Tensor]:
    """Return the same step with Student, Teacher and loss objects."""
    net, teacher_net, projector = subject.networks()
    student = kd.Student(net, subject.layers, projectors={"low": projector})
    teacher = kd.Teacher(teacher_net, subject.layers)
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("low") + 0.5 * kd.FeatureMSE("high")
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01)

    def step() -> Tensor:
        t, s = teacher(flow), student(rgb)
        assert s.logits is not None
        loss: Tensor = F.cross_entropy(s.logits, LABEL) + criterion(s, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def build(subject: Subject, peers: Sequence[str] = ()) -> dict[str, Callable[[], Tensor]]:
    """Build the step of every arm."""
    rgb, flow = subject.inputs()
    return {
        "kdvideo": wrapped(subject, rgb, flow),
        "by hand": by_hand(subject, rgb, flow),
        "by hand again": by_hand(subject, rgb, flow),
        **{name: PEERS[name](subject.networks(), rgb, flow, LABEL) for name in peers},
    }


def check(subject: Subject, peers: Sequence[str] = ()) -> None:
    """Check that the first losses of all arms agree, in float64: batch norm of few values magnifies rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        arms = build(subject, peers)
    finally:
        torch.set_default_dtype(before)
    for losses in ([step().item() for step in arms.values()] for _ in range(3)):
        torch.testing.assert_close(losses, [losses[1]] * len(losses))


def measure(subject: Subject, rounds: int, peers: Sequence[str] = ()) -> dict[str, list[float]]:
    """Measure the CPU seconds per step of every arm in every round; all must do the same."""
    check(subject, peers)
    repeated = {name: partial(_repeat, step, subject.steps) for name, step in build(subject, peers).items()}
    times = Timings(repeated, rounds, warm=1, quiet=True, shuffle=True)
    return {name: [seconds / subject.steps for seconds in spent] for name, spent in times.cpu.items()}


def _repeat(step: Callable[[], Tensor], steps: int) -> None:
    for _ in range(steps):
        step()


def ratios(top: list[float], bottom: list[float]) -> dict[str, float]:
    """Compute median and quartiles of the ratio within a round, and the median's standard error (bootstrap)."""
    each = [a / b for a, b in zip(top, bottom, strict=True)]
    low, _, high = statistics.quantiles(each, n=4)
    draws = random.Random(0)
    medians = [statistics.median(draws.choices(each, k=len(each))) for _ in range(300)]
    found = {
        "median": statistics.median(each),
        "quartile_low": low,
        "quartile_high": high,
        "standard_error": statistics.stdev(medians),
    }
    return {name: round(value, 4) for name, value in found.items()}


def row(spent: dict[str, list[float]]) -> dict[str, Any]:
    """Return what is recorded of one network."""
    return {
        "over_by_hand": {name: ratios(one, spent["by hand"]) for name, one in spent.items() if name != "by hand"},
        "milliseconds_per_step": {name: round(1e3 * statistics.median(one), 4) for name, one in spent.items()},
    }


def report(rows: dict[str, dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """Return what is recorded."""
    return {
        "benchmark": "speed_core",
        "networks": rows,
        "limit": LIMIT,
        "rounds": options.rounds,
        **record.environment(f"python -m benchmarks.speed.core{' --peers' * options.peers}", torch.get_num_threads()),
    }


def markdown(result: dict[str, Any]) -> str:
    """Render the record as a table."""
    head = ["step through", *(SUBJECTS[name].text for name in result["networks"])]
    arms = dict.fromkeys(arm for one in result["networks"].values() for arm in one["over_by_hand"])
    cells = [
        [
            f"{arm} {result['versions'][PACKAGES[arm]]}" if arm in PACKAGES else arm,
            *(_spread(one["over_by_hand"].get(arm)) for one in result["networks"].values()),
        ]
        for arm in arms
    ]
    by_hand = [
        "by hand, ms",
        *(f"{one['milliseconds_per_step']['by hand']:.2f}" for one in result["networks"].values()),
    ]
    return "\n".join(
        [
            "CPU seconds of a training step with two tapped layers and a projector, relative to the same step written "
            f"by hand: median of {result['rounds']} interleaved rounds (quartiles).",
            "",
            *table(head, [*cells, by_hand]),
            "",
        ]
    )


def _spread(ratio: dict[str, float] | None) -> str:
    if ratio is None:
        return "not run"
    return f"{ratio['median']:.3f}× ({ratio['quartile_low']:.3f}–{ratio['quartile_high']:.3f})"


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    rows = {}
    for name in options.networks:
        peers = list(PEERS) if options.peers and name == "micro" else []
        rows[name] = row(measure(SUBJECTS[name], options.rounds, peers))
    record.write("speed_core", report(rows, options), markdown)


if __name__ == "__main__":
    main(options)
