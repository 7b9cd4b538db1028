"""Timings on a clock that is set by the arms: nothing here measures time."""

from collections.abc import Callable

import pytest

from kdvideo.training import Timings, timing


class Clock:
    """Wall time that passes only in an arm; the processor is busy for half of it."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.now / 2

    def arm(self, name: str, *seconds: float) -> Callable[[], str]:
        """A function that takes so long in its first, second ... call."""
        left = list(seconds)

        def run() -> str:
            self.now += left.pop(0)
            self.calls.append(name)
            return f"{name}, {len(left)} left"

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_rounds_interleave_the_arms_and_leave_the_warm_ones_out(clock: Clock) -> None:
    arms = {"a": clock.arm("a", 9, 1, 2), "b": clock.arm("b", 9, 4, 4)}
    timings = Timings(arms, 2, quiet=True)
    assert clock.calls == ["a", "b"] * 3
    assert timings.wall == {"a": [1, 2], "b": [4, 4]}
    assert timings.cpu == {"a": [0.5, 1], "b": [2, 2]}
    assert timings.last == {"a": "a, 0 left", "b": "b, 0 left"}


def test_ratios_are_taken_within_a_round(clock: Clock) -> None:
    timings = Timings({"a": clock.arm("a", 1, 2, 8), "b": clock.arm("b", 4, 4, 4)}, 3, warm=0, quiet=True)
    assert timings.ratio("a", "b") == {"median": 2.0, "min": 0.5, "max": 4.0}
    assert timings.cost("a", "b") == {"median": 0.5, "min": 0.25, "max": 2.0}
    assert timings.ratio("a", "a") == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert timings.rate("b", 8) == {"median": 2.0, "min": 2.0, "max": 2.0}
