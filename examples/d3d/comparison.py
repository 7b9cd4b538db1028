"""Means over runs with their standard errors, and differences of two methods with 95 % intervals.

Runs are trainings with other seeds. Two methods are two independent groups of runs, compared by Welch's interval:
runs of one seed share no more than the order of the data, and trainings that differ in rounding alone scatter like
trainings of other seeds. Differences are paired by seed only where both methods use one trained network, such as an
ensemble and its member, or a student and its teacher.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from scipy import stats

from kdvideo.training import mean_and_standard_error

CONFIDENCE = 0.95
ROUNDING = 1e-9  # of the largest value: differences below it are no scatter
PerSeed = Mapping[str, float]


@dataclass(frozen=True)
class MeanOfRuns:
    """The mean of one method over its runs; the standard error of one run is None."""

    mean: float
    standard_error: float | None
    runs: int


@dataclass(frozen=True)
class Comparison:
    """First minus second: the mean, its standard error and t interval; None where the runs do not say how they scatter.

    Attributes:
        first: name of the first method.
        second: name of the second.
        mean: of first − second.
        standard_error: of the mean.
        low: end of the 95 % interval.
        high: the other end.
        degrees: degrees of freedom of the interval.
        deviations: standard deviation of the differences where paired, else of each method's runs.
        runs: of the first and of the second.
        paired: whether runs of one seed were subtracted from each other.
        correlation: of the values at common seeds. It decides nothing: chosen by it, intervals would be too short.
    """

    first: str
    second: str
    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    degrees: float | None
    deviations: tuple[float, ...] | None
    runs: tuple[int, int]
    paired: bool
    correlation: float | None

    def words(self, *, digits: int = 1) -> str:
        """Return such as "D3D − S3D-G: +3.1 ± 0.9 (Welch, 6 and 6 runs)"; one run has no spread."""
        spread = "" if self.standard_error is None else f" ± {self.standard_error:.{digits}f}"
        first, second = self.runs
        how = f"paired, {_count(first)}" if self.paired else f"Welch, {first} and {_count(second)}"
        return f"{self.first} − {self.second}: {self.mean:+z.{digits}f}{spread} ({how})"


def summarize(values: PerSeed) -> MeanOfRuns:
    """Compute mean and standard error s/√n of one method's values.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    mean, error = mean_and_standard_error(_finite(values))
    return MeanOfRuns(mean, None if math.isnan(error) else error, len(values))


def compare(
    first: PerSeed, second: PerSeed, *, names: tuple[str, str] = ("first", "second"), paired: bool = False
) -> Comparison:
    """Compute the difference first − second and its 95 % interval.

    With groups of variance s² over n runs, the standard error is √(Σ s²/n), and the interval is that of t with
    (Σ s²/n)² / Σ (s²/n)²/(n − 1) degrees of freedom. The groups are the two methods or, where paired, the one of the
    differences at the seeds that both have; its degrees of freedom are n − 1.

    Args:
        first: seed -> value of the first method, in the unit that the words shall have.
        second: the same of the second method.
        names: of the two, for the words.
        paired: whether both use one trained network at each seed.

    Raises:
        ValueError: no value, one that is not finite, or, where paired, no common seed.

    Source: B. L. Welch, The generalization of Student's problem, Biometrika 34, 1947.

    Examples:
        >>> compare({"0": 81.0, "1": 83.0}, {"0": 70.0, "1": 76.0}, names=("D3D", "S3D-G")).words()
        'D3D − S3D-G: +9.0 ± 3.2 (Welch, 2 and 2 runs)'
    """
    groups, common = [_finite(first), _finite(second)], [seed for seed in first if seed in second]
    if paired and not common:
        raise ValueError(f"{names[0]} has the seeds {list(first)}, {names[1]} has {list(second)}: none in common")
    runs = (len(common), len(common)) if paired else (len(first), len(second))
    scale = ROUNDING * max(map(abs, (*groups[0], *groups[1])))
    correlation = _correlation([first[seed] for seed in common], [second[seed] for seed in common])
    if paired:
        groups = [[first[seed] - second[seed] for seed in common]]
    means = [mean_and_standard_error(group)[0] for group in groups]
    mean = means[0] if paired else means[0] - means[1]
    if min(map(len, groups)) < 2:
        return Comparison(*names, mean, None, None, None, None, None, runs, paired, correlation)
    deviations = tuple(found if (found := statistics.stdev(group)) > scale else 0.0 for group in groups)
    parts = [s**2 / len(group) for s, group in zip(deviations, groups, strict=True)]
    error = math.sqrt(sum(parts))
    if error == 0:
        return Comparison(*names, mean, 0.0, None, None, None, deviations, runs, paired, correlation)
    degrees = sum(parts) ** 2 / sum(v**2 / (len(group) - 1) for v, group in zip(parts, groups, strict=True))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    ends = mean - half, mean + half
    return Comparison(*names, mean, error, *ends, degrees, deviations, runs, paired, correlation)


def _correlation(first: list[float], second: list[float]) -> float | None:
    if len(first) < 3 or min(statistics.pstdev(first), statistics.pstdev(second)) == 0:
        return None
    return statistics.correlation(first, second)


def _finite(values: PerSeed) -> list[float]:
    bad = {seed: value for seed, value in values.items() if not math.isfinite(value)}
    if bad or not values:
        raise ValueError(f"values must be finite, at least one; leave out seeds that were not run: {bad or 'none'}")
    return list(values.values())


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"
