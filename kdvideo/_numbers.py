"""Checks of options that are numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def positive(value: float) -> bool:
    """Tell whether a number is positive and finite."""
    return 0 < value < float("inf")


def not_negative(value: float) -> bool:
    """Tell whether a number is finite and at least 0."""
    return 0 <= value < float("inf")


def is_number(value: Any) -> bool:
    """Tell whether an option is a number, NumPy's and tensors of one element among them."""
    return isinstance(value, (int, float)) or hasattr(value, "__float__")


def check_numbers(wanted: str, fits: Callable[[Any], bool], advice: str = "", /, **options: Any) -> None:
    """Raise ValueError unless every named option is a number that fits.

    Examples:
        >>> check_numbers("positive", positive, temperature=0)
        Traceback (most recent call last):
        ValueError: temperature must be positive, got 0
    """
    for name, value in options.items():
        if is_number(value) and fits(value):
            continue
        if isinstance(value, type):
            advice = f"{value.__name__}(...), where a schedule is meant"
        elif callable(value):
            advice = "only the weight of a term, weight * loss, may be a schedule"
        raise ValueError(f"{name} must be {wanted}, got {value!r}" + (f": {advice}" if advice else ""))


def check_count(**options: Any) -> None:
    """Raise ValueError unless every named option is a whole number of at least 1."""
    check_numbers("a whole number of at least 1", _is_count, **options)


def _is_count(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and int(value) >= 1
