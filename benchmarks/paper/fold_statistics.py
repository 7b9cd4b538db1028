"""The mean of a method over folds of one data set, and the difference of two, with an interval.

Trainings within a fold share their clips and are averaged first: the unit is the fold. The folds are no independent
units either, since any two share most of their training clips; Nadeau and Bengio add the share of the test clips to the
variance of the mean for that. Two methods are compared by their difference in each fold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy import stats

from kdvideo.training import mean_and_standard_error

Folds = Mapping[str, Sequence[float]]  # fold -> one value for each of its trainings


@dataclass(frozen=True)
class Interval:
    """A mean over folds and its two-sided 95 % interval."""

    mean: float
    low: float
    high: float
    folds: int


def over_folds(values: Folds, *, test_share: float) -> Interval:
    r"""Compute the mean over folds and its t interval, which allows for training clips that folds share.

    .. math:: \bar{x} \pm t_{0.975, J - 1} \sqrt{\Big(\frac{1}{J} + \frac{n_2}{n_1}\Big) s^2}

    Args:
        values: of J folds; each counts with the mean of its trainings, and s² is the variance of these means.
        test_share: n₂ / n₁, the test clips of a fold divided by its training clips.

    Raises:
        ValueError: fewer than two folds, or a fold without a value.

    Examples:
        >>> found = over_folds({"fold 0": [0.5, 0.7], "fold 1": [0.8]}, test_share=0.0)
        >>> round(found.mean, 2), round(found.high - found.mean, 2)
        (0.7, 1.27)

    Source:
        Nadeau, Bengio: Inference for the Generalization Error, Machine Learning 52, 2003.
    """
    if len(values) < 2 or not all(values.values()):
        raise ValueError(f"values must be of two folds or more, each with a training, got {dict(values)}")
    means = [fmean(one) for one in values.values()]
    mean, error = mean_and_standard_error(means)
    margin = float(stats.t.ppf(0.975, len(means) - 1)) * error * math.sqrt(1 + len(means) * test_share)
    return Interval(mean, mean - margin, mean + margin, len(means))


def difference(first: Folds, second: Folds, *, test_share: float) -> Interval:
    """Compute the mean of first - second over folds, both averaged over the trainings of a fold, as `over_folds`.

    Raises:
        ValueError: the two have other folds.
    """
    if set(first) != set(second):
        raise ValueError(f"both must have the same folds, got {sorted(first)} and {sorted(second)}")
    paired = {fold: [fmean(first[fold]) - fmean(second[fold])] for fold in first}
    return over_folds(paired, test_share=test_share)
