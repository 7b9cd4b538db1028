"""Paired differences between the methods of the ranking, and which of them remain after Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from examples.d3d import comparison, significance
from examples.d3d.comparison import Comparison
from examples.d3d.significance import examine

ALONE = "student alone"
CONTROL = "student alone, again"
BASE = "SoftTarget"
Found = dict[tuple[str, str], Comparison]


def comparisons(known: Mapping[str, Any]) -> Found:
    """Compare every method with the student alone and, other than itself, with SoftTarget; paired by seed.

    Methods at a seed share their data, teacher and first weights; `correlation` says what that brings.
    """
    tests = {name: row["test"] for name, row in known["rows"].items() if "test" in row}
    against = [name for name in (ALONE, BASE) if name in tests]
    return {
        (name, other): comparison.compare(tests[name], tests[other], names=(name, other), paired=True)
        for other in against
        for name in tests
        if name not in (ALONE, other)
    }


def shown(found: Found) -> set[tuple[str, str]]:
    """Return the comparisons that show a difference after Holm's correction over all of them."""
    tested = {key: examine([one]) for key, one in found.items()}
    adjusted = significance.holm({key: one.p_value if one else 1.0 for key, one in tested.items()})
    return {key for key, value in adjusted.items() if value < significance.LEVEL}


def correlation(found: Found) -> float | None:
    """Compute the median, over all comparisons, of the correlation of two methods over the seeds; None under three."""
    known = [one.correlation for one in found.values() if one.correlation is not None]
    return median(known) if known else None
