"""Schedules of a weight or a rate as pure functions of the step: `schedule(step)` is a number.

Multiply a loss by one, `Linear(0.0, 1.0, steps=1000) * LogitMSE()`, and pass the step where the loss is
called. They serve `torch.optim.lr_scheduler.LambdaLR` just as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kdvideo._hints import kind
from kdvideo._numbers import check_numbers, is_number


@dataclass(frozen=True)
class Constant:
    """The same value at every step.

    Args:
        value: at every step.

    Raises:
        ValueError: a value that is no number; when called, a negative step.

    Examples:
        >>> Constant(0.5)(100)
        0.5
    """

    value: float

    def __post_init__(self) -> None:
        _check_numbers(value=self.value)

    def __call__(self, step: int) -> float:
        """Compute the value at a step.

        Args:
            step: s ≥ 0.

        Returns:
            The value.
        """
        _check(step)
        return self.value


@dataclass(frozen=True)
class Linear:
    """A straight line from `start` at step 0 to `stop` at step `steps`; later steps have the value `stop`.

    w(s) = start + (stop - start) · min(1, s / S)

    Args:
        start: the value at step 0.
        stop: the value at step `steps` and later.
        steps: S ≥ 1, the length in steps.

    Raises:
        ValueError: values that are no numbers, or fewer than 1 step; when called, a negative step.

    Examples:
        >>> [Linear(0.0, 1.0, steps=4)(step) for step in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
    """

    start: float
    stop: float
    steps: int

    def __post_init__(self) -> None:
        _check_numbers(start=self.start, stop=self.stop)
        _check_length(self.steps)

    def __call__(self, step: int) -> float:
        """Compute the value at a step.

        Args:
            step: s ≥ 0.

        Returns:
            The value.
        """
        _check(step)
        return self.start + (self.stop - self.start) * min(1.0, step / self.steps)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from `start` at step 0 to `stop` at step `steps`; later steps have the value `stop`.

    w(s) = start + (stop - start) · (1 - cos(π · min(1, s / S))) / 2

    Args:
        start: the value at step 0.
        stop: the value at step `steps` and later.
        steps: S ≥ 1, the length in steps.

    Raises:
        ValueError: values that are no numbers, or fewer than 1 step; when called, a negative step.

    Examples:
        >>> [round(Cosine(1.0, 0.0, steps=4)(step), 3) for step in (0, 1, 2, 4, 9)]
        [1.0, 0.854, 0.5, 0.0, 0.0]

    Source:
        Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, arXiv 1608.03983.
    """

    start: float
    stop: float
    steps: int

    def __post_init__(self) -> None:
        _check_numbers(start=self.start, stop=self.stop)
        _check_length(self.steps)

    def __call__(self, step: int) -> float:
        """Compute the value at a step.

        Args:
            step: s ≥ 0.

        Returns:
            The value.
        """
        _check(step)
        wave = (1.0 - math.cos(math.pi * min(1.0, step / self.steps))) / 2.0
        return self.start + (self.stop - self.start) * wave


@dataclass(frozen=True)
class Milestones:
    """`start`, until a milestone is reached; from each milestone on, its value.

    Args:
        start: the value before the first milestone.
        values: milestone, a step -> value from that step on.

    Raises:
        ValueError: values that are no numbers, or no mapping of them; when called, a negative step.

    Examples:
        >>> rate = Milestones(0.1, {60_000: 0.01, 70_000: 0.001})
        >>> [rate(step) for step in (0, 59_999, 60_000, 80_000)]
        [0.1, 0.1, 0.01, 0.001]
    """

    start: float
    values: Mapping[int, float]

    def __post_init__(self) -> None:
        _check_numbers(start=self.start)
        if not isinstance(self.values, Mapping):
            raise ValueError(f"values must map steps to values, got {kind(self.values)}: {{60_000: 0.01}}")
        for milestone, value in self.values.items():
            _check_numbers(milestone=milestone, value=value)

    def __call__(self, step: int) -> float:
        """Compute the value at a step.

        Args:
            step: s ≥ 0.

        Returns:
            The value.
        """
        _check(step)
        reached = [milestone for milestone in self.values if milestone <= step]
        return self.values[max(reached)] if reached else self.start


@dataclass(frozen=True)
class Warmup:
    """`then(step)`, scaled by (step + 1) / steps during the first `steps` steps, which may be a fraction such as 14.3.

    w(s) = then(s) · min(1, (s + 1) / S)

    Args:
        steps: S ≥ 1.
        then: the schedule that is scaled, a function of the step.

    Raises:
        ValueError: fewer than 1 step, or a `then` that is no schedule; when called, a negative step.

    Examples:
        >>> [Warmup(4, then=Constant(2.0))(step) for step in (0, 1, 3, 9)]
        [0.5, 1.0, 2.0, 2.0]
    """

    steps: float
    then: Callable[[int], float]

    def __post_init__(self) -> None:
        if isinstance(self.then, type) or not callable(self.then):
            raise ValueError(f"then must be a schedule, got {kind(self.then)}: Constant(0.1) for a number")
        _check_length(self.steps)

    def __call__(self, step: int) -> float:
        """Compute the value at a step.

        Args:
            step: s ≥ 0.

        Returns:
            The value.
        """
        _check(step)
        return self.then(step) * min(1.0, (step + 1) / self.steps)


def _check_numbers(**values: float) -> None:
    check_numbers("a number", is_number, **values)


def _check(step: int) -> None:
    if not step >= 0:
        raise ValueError(f"step must be at least 0, got {step}")


def _check_length(steps: float) -> None:
    check_numbers("at least 1", lambda value: value >= 1, steps=steps)
