"""Timings of several functions side by side: every arm once per round, one after the other, ratios within a round.

What slows the machine down slows all arms of a round down, so the ratios hold on a noisy machine, as long as an arm
that is timed twice (an A/A control) stays near 1 against itself.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Arm = Callable[[], object]


class Timings:
    """Wall and processor seconds of every arm in every round, and what it returned last.

    Args:
        arms: name -> function without arguments; GPU work is waited for.
        rounds: how often each arm is timed, at least 1.
        warm: rounds before them that are not counted.
        quiet: print nothing.

    Attributes:
        wall: name -> seconds of wall time, one a round.
        cpu: name -> seconds of processor time of this process, one a round.
        last: name -> what the arm returned last.

    Examples:
        >>> timings = Timings({"sum": lambda: sum(range(10)), "max": lambda: max(range(10))}, 3, quiet=True)
        >>> timings.last, len(timings.wall["sum"])
        ({'sum': 45, 'max': 9}, 3)
    """

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
        """Compute the speed of an arm relative to the reference, in wall time: above 1 is faster."""
        return spread_of([a / b for a, b in zip(self.wall[reference], self.wall[name], strict=True)])

    def cost(self, name: str, reference: str) -> dict[str, float]:
        """Compute the wall time of an arm relative to the reference: above 1 is slower."""
        return spread_of([a / b for a, b in zip(self.wall[name], self.wall[reference], strict=True)])

    def rate(self, name: str, units: int) -> dict[str, float]:
        """Compute units per second of wall time, where one call works on `units`."""
        return spread_of([units / seconds for seconds in self.wall[name]])


def spread_of(values: list[float]) -> dict[str, float]:
    """Compute median, minimum and maximum, rounded to four decimal places.

    Args:
        values: at least one.

    Examples:
        >>> spread_of([1.0, 2.0, 4.0])
        {'median': 2.0, 'min': 1.0, 'max': 4.0}
    """
    keep = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 4) for name, value in keep.items()}
