"""The weights of the terms of a sum: numbers, or schedules, which are functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

Weight = float | Callable[[int], float]


def term_name(weights: tuple[Weight, ...], name: str) -> str:
    """Return the name of a loss with its weights before it."""
    return "*".join([*map(_weight_name, weights), name])


def _weight_name(weight: Weight) -> str:
    if isinstance(weight, (int, float)):
        return f"{weight:g}"
    return getattr(weight, "__name__", type(weight).__name__).lower()


def weighted(value: Tensor, weights: tuple[Weight, ...], step: int | None) -> Tensor:
    """Multiply a value by its weights at a step."""
    if not weights:
        return value
    factor = 1.0
    for weight in weights:
        factor *= _at(weight, step)
    return factor * value


def _at(weight: Weight, step: int | None) -> float:
    if isinstance(weight, (int, float)):
        return weight
    if step is None:
        raise ValueError(
            f"the weight {weight} is a schedule: pass the step, as in criterion(student, teacher, step=step)"
        )
    return check_weight(weight(step), weight)


def check_weight(value: float, weight: Weight) -> float:
    """Return the value of a weight; ValueError unless it is finite and at least 0."""
    if not 0 <= value < math.inf:
        of = "" if value is weight else f" from {weight}"
        raise ValueError(
            f"a weight must be finite and at least 0, got {value}{of}: a loss is minimized, never maximized"
        )
    return value
