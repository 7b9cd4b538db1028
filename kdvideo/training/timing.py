"""Time functions side by side: every arm once per round, one after the other, ratios within a round.

These numbers hold on a noisy machine as long as an arm that runs twice (A/A) stays near 1 against itself.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

import torch

Arm = Callable[[], object]


class Timings:
    """Wall and processor seconds of every arm in every round, and what it returned last.

    Args:
        arms: name -> what is timed; the same function under a second name is the control (A/A).
        rounds: how often each is timed.
        warm: rounds before these that are not timed.
        quiet: print nothing.
        shuffle: run the arms of a round in an order drawn anew for each (always the same draws), so that none always
            follows the same other one; otherwise in the order of `arms`.

    Attributes:
        wall: arm -> its seconds of wall time in each round.
        cpu: arm -> its seconds of processor time in each round.
        last: arm -> what it returned last.

    Raises:
        ValueError: no arm, or `rounds` is below 1.

    Examples:
        >>> times = Timings({"sum": lambda: sum(range(9)), "again": lambda: sum(range(9))}, rounds=3, quiet=True)
        >>> times.last["sum"], len(times.wall["sum"]), sorted(times.cost("sum", "again"))
        (36, 3, ['max', 'median', 'min'])
    """

    def __init__(
        self, arms: Mapping[str, Arm], rounds: int, *, warm: int = 1, quiet: bool = False, shuffle: bool = False
    ) -> None:
        if rounds < 1 or not arms:
            raise ValueError(f"rounds must be at least 1, of one arm or more, got {rounds} of {list(arms)}")
        self.wall: dict[str, list[float]] = {name: [] for name in arms}
        self.cpu: dict[str, list[float]] = {name: [] for name in arms}
        self.last: dict[str, object] = {}
        draws = random.Random(0)
        for number in range(-warm, rounds):
            for name in draws.sample(list(arms), len(arms)) if shuffle else arms:
                wall, cpu = time.perf_counter(), time.process_time()
                self.last[name] = arms[name]()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if number >= 0:
                    self.wall[name].append(time.perf_counter() - wall)
                    self.cpu[name].append(time.process_time() - cpu)
                if not quiet:
                    print(f"round {number:2d}  {name:24} {time.perf_counter() - wall:9.3f} s", flush=True)

    def ratio(self, name: str, reference: str) -> dict[str, float]:
        """Compute the speed of an arm relative to the reference, in wall time: above 1 is faster.

        Args:
            name: the arm.
            reference: the arm that it is compared with, round by round.

        Returns:
            Its median, min and max over the rounds.
        """
        return spread_of([a / b for a, b in zip(self.wall[reference], self.wall[name], strict=True)])

    def cost(self, name: str, reference: str) -> dict[str, float]:
        """Compute the wall time of an arm relative to the reference: above 1 is slower.

        Args:
            name: the arm.
            reference: the arm that it is compared with, round by round.

        Returns:
            Its median, min and max over the rounds.
        """
        return spread_of([a / b for a, b in zip(self.wall[name], self.wall[reference], strict=True)])

    def rate(self, name: str, units: int) -> dict[str, float]:
        """Compute units per second of wall time.

        Args:
            name: the arm.
            units: how many units it works on in a round.

        Returns:
            Its median, min and max over the rounds.
        """
        return spread_of([units / seconds for seconds in self.wall[name]])


def spread_of(values: list[float]) -> dict[str, float]:
    """Compute median and range, rounded to four decimals.

    Args:
        values: at least one number.

    Returns:
        The numbers under "median", "min" and "max".

    Examples:
        >>> spread_of([1.0, 2.0, 4.0])
        {'median': 2.0, 'min': 1.0, 'max': 4.0}
    """
    keep = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 4) for name, value in keep.items()}
