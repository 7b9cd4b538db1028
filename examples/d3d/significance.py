"""Whether runs show a claim about a difference, after Holm's correction, and how many runs would show it.

A claim says where a difference lies: above 0, below a margin ("gains nothing"), or between −margin and margin ("about
equal"). Each end of that range is a one-sided t test, so that the last is the two one-sided tests of equivalence. A
claim can be shown or refuted, so its p-value is twice the smaller of the two sides': below 0.05, before the
correction, where the 95 % interval lies wholly inside the range or wholly outside of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeVar

from scipy import stats

from examples.d3d.comparison import Comparison

LEVEL = 0.05
POWER = 0.8
FEWEST = 3  # runs of each method; fewer say too little about their scatter
MANY = 2000  # degrees of freedom, from which t is taken as normal
Key = TypeVar("Key", bound=Hashable)


class Range(NamedTuple):
    """Where a claim puts the difference first − second: above `least` and below `most`."""

    least: float = 0.0
    most: float = math.inf

    def contains(self, difference: float) -> bool:
        """Return whether a difference is what the claim says."""
        return self.least < difference < self.most


ABOVE_ZERO = Range()
Claim = tuple[Sequence[Comparison], Range]


class Verdict(StrEnum):
    """What the runs say of a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    NEEDS_RUNS = "needs runs"
    NOT_SEEN = "not seen"
    TOO_FEW_RUNS = "too few runs"
    NO_SCATTER = "no scatter"


class Decision(NamedTuple):
    """A verdict; the p-value after Holm's correction; the runs of each method that would show what is not shown yet."""

    verdict: Verdict
    p_value: float | None = None
    runs: int | None = None

    def words(self, difference: str) -> str:
        """Return such as "needs 12 runs"; the difference is the one that no number of runs would make fit."""
        return {
            Verdict.NEEDS_RUNS: f"needs {self.runs:,} runs" if self.runs else "",
            Verdict.NOT_SEEN: f"not seen: at the measured difference of {difference} no number of runs would show it",
            Verdict.TOO_FEW_RUNS: f"needs a pilot of {FEWEST} runs",
            Verdict.NO_SCATTER: "needs other runs: these are equal, and do not say how they scatter",
        }.get(self.verdict, str(self.verdict))


class Tested(NamedTuple):
    """The p-value of a claim, and whether the runs lean to it (True) or to its opposite."""

    p_value: float
    holds: bool


def at_most(margin: float) -> Range:
    """Return the range of "first gains at most `margin` over second", where it may also lose."""
    return Range(-math.inf, _checked(margin))


def about_equal(margin: float) -> Range:
    """Return the range of "first and second differ by less than `margin`"."""
    return Range(-_checked(margin), margin)


def decide(claims: Mapping[Key, Claim]) -> dict[Key, Decision]:
    """Decide some claims together.

    A claim holds, or does not, where its p-value is below 0.05 after Holm's correction over all claims that have
    enough runs. For k others the runs are computed at the level 0.05/k, which Holm's correction then asks of the next.
    """
    tested = {key: found for key, claim in claims.items() if (found := examine(*claim))}
    adjusted = holm({key: one.p_value for key, one in tested.items()})
    open_claims = sum(value >= LEVEL for value in adjusted.values())
    decisions = {}
    for key, (comparisons, where) in claims.items():
        if key not in tested:
            scatter = all(min(one.runs) >= FEWEST for one in comparisons)
            decisions[key] = Decision(Verdict.NO_SCATTER if scatter else Verdict.TOO_FEW_RUNS)
        elif adjusted[key] < LEVEL:
            verdict = Verdict.HOLDS if tested[key].holds else Verdict.DOES_NOT_HOLD
            decisions[key] = Decision(verdict, adjusted[key])
        else:
            needed = runs_needed(comparisons, where, level=LEVEL / open_claims)
            verdict = Verdict.NEEDS_RUNS if needed else Verdict.NOT_SEEN
            decisions[key] = Decision(verdict, adjusted[key], needed)
    return decisions


def examine(comparisons: Sequence[Comparison], where: Range = ABOVE_ZERO) -> Tested | None:
    """Test the claim that all differences lie in a range; None where there are too few runs, or they do not scatter.

    All pairs must be shown: the largest p-value counts (intersection-union test). One pair refutes the claim: the
    smallest counts, times the number of pairs.

    Source: R. L. Berger, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24, 1982;
    D. J. Schuirmann, A comparison of the two one-sided tests procedure, J. Pharmacokinetics Biopharmaceutics 15, 1987.
    """
    if not comparisons or any(min(one.runs) < FEWEST or not one.standard_error for one in comparisons):
        return None
    shown = max(_sided(one, where, inside=True) for one in comparisons)
    refuted = min(_sided(one, where, inside=False) for one in comparisons) * len(comparisons)
    return Tested(min(1.0, 2 * min(shown, refuted)), shown <= refuted)


def _sided(one: Comparison, where: Range, *, inside: bool) -> float:
    """Compute the p-value of the difference being inside, the larger of both ends', or outside, the smaller."""
    assert one.standard_error
    assert one.degrees
    away = [(one.mean - where.least) / one.standard_error, (where.most - one.mean) / one.standard_error]
    if inside:
        return max(float(stats.t.sf(t, one.degrees)) for t in away)
    return min(float(stats.t.cdf(t, one.degrees)) for t in away)


def holm(values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjust p-values for their number.

    The smallest of m values is multiplied by m, the next by m − 1, and so on; none falls below one before it.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian J. Statistics 6, 1979.

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


def runs_needed(comparisons: Sequence[Comparison], where: Range = ABOVE_ZERO, *, level: float = LEVEL) -> int | None:
    """Compute the runs of each method with which the claim is shown with probability 0.8, if the runs so far are right.

    Means and standard deviations are taken as measured, and t as noncentral. Of several pairs each gets its share
    of the 0.2.

    Args:
        comparisons: the pilot's differences.
        where: the claim puts them.
        level: of the two-sided test, after a correction.

    Returns:
        The number of runs; None where a measured mean lies outside of the range, so that none suffices.
    """
    assert all(any(one.deviations or ()) for one in comparisons)
    if not all(where.contains(one.mean) for one in comparisons):
        return None
    wanted, counts = 1 - (1 - POWER) / len(comparisons), range(FEWEST, 2**62)

    def fewest(one: Comparison) -> int:
        return counts[bisect_left(counts, wanted, key=lambda runs: power(one, where, runs, level))]

    return max(map(fewest, comparisons))


def power(one: Comparison, where: Range, runs: int, level: float = LEVEL) -> float:
    """Compute the probability that so many runs of each method show a claim, a lower bound where it has two ends."""
    assert one.deviations
    squares = [s**2 for s in one.deviations]
    error = math.sqrt(sum(squares) / runs)
    degrees = sum(squares) ** 2 * (runs - 1) / sum(v**2 for v in squares)
    ends = [(one.mean - where.least) / error, (where.most - one.mean) / error]
    if degrees > MANY:
        missed = [float(stats.norm.cdf(stats.norm.isf(level / 2) - end)) for end in ends]
    else:
        critical = float(stats.t.isf(level / 2, degrees))
        missed = [float(stats.nct.cdf(critical, degrees, end)) if end < math.inf else 0.0 for end in ends]
    return max(0.0, 1 - sum(missed))


def _checked(margin: float) -> float:
    if not 0 < margin < math.inf:
        raise ValueError(f"margin must be positive, in the unit of the values, got {margin}")
    return margin
