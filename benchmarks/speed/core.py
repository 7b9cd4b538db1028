"""Measure the overhead of the wrappers: a distillation step through kdvideo beside the same step written by hand.

A micro network, where every microsecond of Python shows: two tapped layers, a projector, cross-entropy, the
error of logits and of features, backward pass and optimiser. Every round runs, in random order, the wrapper
once and the hand-written loop twice; ratios are formed within a round, and the ratio of the two hand-written
runs (A/A) shows how much the machine itself varies. Seconds are CPU seconds of one thread. With `--peers` the same
step through torchdistill and ModelOpt, which must be installed, runs in the same rounds.

    python -m benchmarks.speed.core
    python -m benchmarks.speed.core --peers
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd
from benchmarks import record
from benchmarks.peers.sources import PACKAGES
from benchmarks.speed.core_peers import PEERS
from kdvideo.training import Timings

LIMIT = 1.02
LAYERS = {"stem": "low", "body": "high"}
LABEL = torch.tensor([0, 1, 2, 3])


class Micro(nn.Module):
    """A network from clips (B,C,T,H,W) to logits (B,10)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(channels, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU())
        self.head = nn.Linear(8, 10)

    def forward(self, clip: Tensor) -> Tensor:
        """Compute the logits."""
        logits: Tensor = self.head(self.body(self.stem(clip)).mean((2, 3, 4)))
        return logits

    def with_features(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the logits and the features of stem and body."""
        low = self.stem(clip)
        high = self.body(low)
        return self.head(high.mean((2, 3, 4))), low, high


def networks() -> tuple[Micro, Micro, nn.Conv3d]:
    """Build student, teacher and projector, the same at every call."""
    torch.manual_seed(0)
    return Micro(3), Micro(2), kd.projectors.conv(8, 8)


def by_hand(rgb: Tensor, flow: Tensor) -> Callable[[], Tensor]:
    """Return one step of the loop without kdvideo."""
    student, teacher, projector = networks()
    teacher.eval().requires_grad_(False)
    optimizer = torch.optim.SGD([*student.parameters(), *projector.parameters()], lr=0.01)

    def step() -> Tensor:
        with torch.no_grad():
            target, target_low, target_high = teacher.with_features(flow)
        logits, low, high = student.with_features(rgb)
        loss = F.cross_entropy(logits, LABEL) + F.mse_loss(logits, target)
        loss = loss + 0.5 * F.mse_loss(projector(low), target_low) + 0.5 * F.mse_loss(high, target_high)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def wrapped(rgb: Tensor, flow: Tensor) -> Callable[[], Tensor]:
    """Return the same step with Student, Teacher and loss objects."""
    net, teacher_net, projector = networks()
    student = kd.Student(net, LAYERS, projectors={"low": projector})
    teacher = kd.Teacher(teacher_net, LAYERS)
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("low") + 0.5 * kd.FeatureMSE("high")
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01)

    def step() -> Tensor:
        t = teacher(flow)
        s = student(rgb)
        loss: Tensor = F.cross_entropy(s.logits, LABEL) + criterion(s, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def measure(rounds: int, steps: int, size: int, peers: Sequence[str] = ()) -> dict[str, list[float]]:
    """Measure the CPU seconds per step of every arm in every round; the first losses of all arms must agree."""
    rgb, flow = torch.randn(4, 3, 4, size, size), torch.randn(4, 2, 4, size, size)
    arms = {
        "kdvideo": wrapped(rgb, flow),
        "by hand": by_hand(rgb, flow),
        "by hand again": by_hand(rgb, flow),
        **{name: PEERS[name](networks(), rgb, flow, LABEL) for name in peers},
    }
    for losses in ([step().item() for step in arms.values()] for _ in range(3)):
        torch.testing.assert_close(losses, [losses[1]] * len(losses))
    repeated = {name: partial(_repeat, arm, steps) for name, arm in arms.items()}
    times = Timings(repeated, rounds, warm=0, quiet=True, shuffle=True)
    return {name: [seconds / steps for seconds in spent] for name, spent in times.cpu.items()}


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


def report(spent: dict[str, list[float]], options: argparse.Namespace) -> dict[str, Any]:
    """Return what is recorded."""
    return {
        "benchmark": "speed_core",
        "kdvideo_over_by_hand": ratios(spent["kdvideo"], spent["by hand"]),
        "by_hand_over_by_hand": ratios(spent["by hand again"], spent["by hand"]),
        "peers_over_by_hand": {name: ratios(spent[name], spent["by hand"]) for name in PEERS if name in spent},
        "limit": LIMIT,
        "milliseconds_per_step": {name: round(1e3 * statistics.median(v), 4) for name, v in spent.items()},
        **{name: getattr(options, name) for name in ("rounds", "steps", "size")},
        **record.environment(f"python -m benchmarks.speed.core{' --peers' * options.peers}", torch.get_num_threads()),
    }


def markdown(result: dict[str, Any]) -> str:
    """Render the record as a sentence."""
    ours, control = result["kdvideo_over_by_hand"], result["by_hand_over_by_hand"]
    peers = "".join(
        f"; through {name} {result['versions'][PACKAGES[name]]} {_spread(ratio)}"
        for name, ratio in result.get("peers_over_by_hand", {}).items()
    )
    return (
        "Training step of a micro network through `Student`, `Teacher` and the loss objects, relative to the same step "
        f"written by hand, {result['rounds']} rounds interleaved: {_spread(ours, 'quartiles ')}{peers}; by hand "
        f"against itself {_spread(control)}.\n"
    )


def _spread(ratio: dict[str, float], what: str = "") -> str:
    return f"{ratio['median']:.3f}× ({what}{ratio['quartile_low']:.3f}–{ratio['quartile_high']:.3f})"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--steps", type=int, default=20, help="steps per arm and round")
    parser.add_argument("--size", type=int, default=16, help="height and width of a clip")
    parser.add_argument("--peers", action="store_true", help="torchdistill and ModelOpt too")
    return parser.parse_args(given)


def main() -> None:
    """Measure, print and record."""
    options = arguments()
    torch.set_num_threads(1)
    peers = list(PEERS) if options.peers else []
    found = report(measure(options.rounds, options.steps, options.size, peers), options)
    record.write("speed_core", found, markdown)


if __name__ == "__main__":
    main()
