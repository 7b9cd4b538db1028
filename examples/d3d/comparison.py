"""Statistics over seeds: means with their standard error, paired differences, and verdicts on claims.

Every comparison is paired: the difference of two methods at each seed that both have, and the t interval of its mean.
One rule decides all claims: under `FEWEST` common seeds we cannot tell; otherwise the 95 % interval must lie wholly
where the claim puts the difference (it holds) or wholly elsewhere (it does not hold). The interval takes the
differences as normally distributed and knows no spread but that of the seeds: where all differences are equal, as may
happen to accuracies on few clips, it is a point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from scipy import stats

from kdvideo.training import mean_and_standard_error

FEWEST = 3
PerSeed = Mapping[str, float]


class Verdict(StrEnum):
    """What the seeds say of a claim."""

    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class MeanOfSeeds:
    """The mean of one method over its seeds; the standard error of one seed is None."""

    mean: float
    standard_error: float | None
    seeds: int

    def words(self, *, digits: int = 1) -> str:
        """Such as "83.1 ± 2.0 (6 seeds)"."""
        return f"{_spread(self.mean, self.standard_error, digits)} ({_count(self.seeds)})"


@dataclass(frozen=True)
class Comparison:
    """First minus second, paired by seed: mean, standard error and interval; None where one seed gives none.

    `unpaired` counts the seeds that only one of the two has, which are left out.
    """

    first: str
    second: str
    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    seeds: int
    unpaired: int
    confidence: float

    def words(self, *, digits: int = 1) -> str:
        """Such as "D3D > S3D-G by 3.1 ± 0.9 (paired, 8 seeds)" or "D3D − S3D-G: +0.4 ± 1.2 …, cannot tell"."""
        left_out = f", {self.unpaired} unpaired left out" if self.unpaired else ""
        if greater(self) is Verdict.CANNOT_TELL:
            spread = _spread(self.mean, self.standard_error, digits, sign="+")
            return f"{self.first} − {self.second}: {spread} (paired, {_count(self.seeds)}{left_out}), cannot tell"
        sign = ">" if self.mean > 0 else "<"
        spread = _spread(abs(self.mean), self.standard_error, digits)
        return f"{self.first} {sign} {self.second} by {spread} (paired, {_count(self.seeds)}{left_out})"


def summarize(values: PerSeed) -> MeanOfSeeds:
    """Mean and standard error s/√n of one method's values per seed.

    Raises:
        ValueError: no seed, or a value that is not finite.
    """
    mean, error = mean_and_standard_error(_finite(values))
    return MeanOfSeeds(mean, _known(error), len(values))


def compare(
    first: PerSeed, second: PerSeed, *, names: tuple[str, str] = ("first", "second"), confidence: float = 0.95
) -> Comparison:
    """The differences first - second over common seeds, and the t interval of their mean.

    Args:
        first: seed -> value of the first method, in the unit that the words shall have.
        second: the same of the second method.
        names: of the two, for the words.
        confidence: of the two-sided interval, mean ± t((1 + confidence) / 2, n - 1) · s/√n.

    Raises:
        ValueError: no common seed, a value that is not finite, or a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    common = [seed for seed in first if seed in second]
    if not common:
        raise ValueError(f"{names[0]} has the seeds {list(first)}, {names[1]} has {list(second)}: none in common")
    mean, error = mean_and_standard_error(_finite({seed: first[seed] - second[seed] for seed in common}))
    margin = float(stats.t.ppf((1 + confidence) / 2, len(common) - 1)) * error
    unpaired = len(first) + len(second) - 2 * len(common)
    ends = _known(mean - margin), _known(mean + margin)
    return Comparison(*names, mean, _known(error), *ends, len(common), unpaired, confidence)


def greater(comparison: Comparison) -> Verdict:
    """The claim "first > second": the interval lies above 0, below it, or contains it."""
    return _verdict(comparison, 0.0, math.inf, strict=True)


def about_equal(comparison: Comparison, *, margin: float) -> Verdict:
    """The claim "first and second differ by at most `margin`": the interval within ±margin, outside, or across.

    Failing to see a difference is not equality: with wide intervals we cannot tell. This is a test of equivalence
    by an interval of the full confidence, stricter than two one-sided tests of 5 %.
    """
    _check_margin(margin)
    return _verdict(comparison, -margin, margin)


def at_most(comparison: Comparison, *, margin: float) -> Verdict:
    """The claim "first gains at most `margin` over second", where it may also lose; for "gains nothing"."""
    _check_margin(margin)
    return _verdict(comparison, -math.inf, margin)


def _verdict(comparison: Comparison, least: float, most: float, *, strict: bool = False) -> Verdict:
    """Where the interval lies relative to [least, most], or, with `strict`, to the inside of it."""
    low, high = comparison.low, comparison.high
    if comparison.seeds < FEWEST or low is None or high is None:
        return Verdict.CANNOT_TELL
    if (least < low and high < most) if strict else (least <= low and high <= most):
        return Verdict.HOLDS
    return Verdict.DOES_NOT_HOLD if high < least or low > most else Verdict.CANNOT_TELL


def _finite(values: PerSeed) -> list[float]:
    bad = {seed: value for seed, value in values.items() if not math.isfinite(value)}
    if bad:
        raise ValueError(f"values must be finite; leave out seeds that were not run: {bad}")
    return list(values.values())


def _check_margin(margin: float) -> None:
    if not 0 < margin < math.inf:
        raise ValueError(f"margin must be positive, in the unit of the values, got {margin}")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _spread(mean: float, error: float | None, digits: int, *, sign: str = "") -> str:
    return f"{mean:{sign}z.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")


def _count(seeds: int) -> str:
    return "1 seed" if seeds == 1 else f"{seeds} seeds"
