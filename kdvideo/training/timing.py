"""Timing side by side: every arm once per round, one after the other, ratios within a round.

These numbers hold on a noisy machine as long as an arm that runs twice (A/A) stays near 1 against itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Arm = Callable[[], object]


class Timings:
    """Wall and processor seconds of every arm in every round, and what it returned last."""

    def __init__(self, arms: Mapping[str, Arm], rounds: int, *, warm: int = 1, quiet: bool = False) -> None:
        self.wall: dict[str, list[float]] = {name: [] for name in arms}
        self.cpu: dict[str, list[float]] = {name: [] for name in arms}
        self.last: dict[str, object] = {}
        for number in range(-warm, rounds):
            for name, run in arms.items():
                wall, cpu = time.perf_counter(), time.process_time()
                self.last[name] = run()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if number >= 0:
                    self.wall[name].append(time.perf_counter() - wall)
                    self.cpu[name].append(time.process_time() - cpu)
                if not quiet:
                    print(f"round {number:2d}  {name:24} {time.perf_counter() - wall:9.3f} s", flush=True)

    def ratio(self, name: str, reference: str) -> dict[str, float]:
        """Speed of an arm relative to the reference, in wall time: above 1 is faster."""
        return spread_of([a / b for a, b in zip(self.wall[reference], self.wall[name], strict=True)])

    def cost(self, name: str, reference: str) -> dict[str, float]:
        """Time of an arm relative to the reference: above 1 is slower."""
        return spread_of([a / b for a, b in zip(self.wall[name], self.wall[reference], strict=True)])

    def rate(self, name: str, units: int) -> dict[str, float]:
        """Units per second of wall time."""
        return spread_of([units / seconds for seconds in self.wall[name]])


def spread_of(values: list[float]) -> dict[str, float]:
    """Median and range."""
    keep = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 4) for name, value in keep.items()}
