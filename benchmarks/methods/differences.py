"""Paired differences between the methods of the ranking, and which of them remain after Holm's correction."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from scipy import stats

from examples.d3d import comparison
from examples.d3d.comparison import Comparison

ALONE = "student alone"
CONTROL = "student alone, again"
BASE = "SoftTarget"
LEVEL = 0.05
Key = TypeVar("Key", bound=Hashable)
Found = dict[tuple[str, str], Comparison]


def comparisons(known: Mapping[str, Any]) -> Found:
    """Compare every method with the student alone and, other than itself, with SoftTarget; paired by seed."""
    tests = {name: row["test"] for name, row in known["rows"].items() if "test" in row}
    against = [name for name in (ALONE, BASE) if name in tests]
    return {
        (name, other): comparison.compare(tests[name], tests[other], names=(name, other))
        for other in against
        for name in tests
        if name not in (ALONE, other)
    }


def shown(found: Found) -> set[tuple[str, str]]:
    """Return the comparisons that show a difference after Holm's correction over all of them."""
    adjusted = holm({key: _p_value(one) for key, one in found.items()})
    return {key for key, value in adjusted.items() if value < LEVEL}


def holm(values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjust p-values for their number by Holm's method.

    The smallest of m values is multiplied by m, the next by m − 1, and so on; none falls below one before it.

    Examples:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'c': 0.06, 'b': 0.06}
    """
    adjusted: dict[Key, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(values, key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[key]))
        adjusted[key] = largest
    return adjusted


def _p_value(one: Comparison) -> float:
    """Compute the two-sided p-value of the paired t test."""
    if not one.standard_error:
        return 1.0  # one seed, or equal differences: nothing says how they scatter
    return float(2 * stats.t.sf(abs(one.mean) / one.standard_error, one.seeds - 1))
