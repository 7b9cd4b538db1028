"""Intervals over folds: the fold is the unit, and shared training clips widen them."""

import math

import pytest
from scipy import stats

from benchmarks.paper.fold_statistics import difference, over_folds

FOLDS = {"a": [0.5, 0.7], "b": [0.8], "c": [0.4, 0.4, 0.4]}


def test_runs_of_a_fold_are_one_unit():
    found = over_folds(FOLDS, test_share=0.0)
    ends = stats.t.interval(0.95, 2, loc=0.6, scale=0.2 / math.sqrt(3))
    assert (found.mean, found.low, found.high) == pytest.approx((0.6, *ends))
    assert found.folds == 3
    repeated = over_folds({fold: values * 5 for fold, values in FOLDS.items()}, test_share=0.0)
    assert (repeated.low, repeated.high) == pytest.approx((found.low, found.high)), "more runs are no more folds"


def test_shared_training_clips_widen_the_interval():
    """The variance of the mean is (1/J + n_test/n_train) s^2."""
    plain, corrected = (over_folds(FOLDS, test_share=share) for share in (0.0, 0.5))
    ratio = (corrected.high - corrected.low) / (plain.high - plain.low)
    assert ratio == pytest.approx(math.sqrt((1 / 3 + 0.5) / (1 / 3)))


def test_methods_are_compared_within_each_fold():
    better = {fold: [sum(values) / len(values) + 0.1] for fold, values in FOLDS.items()}
    found = difference(better, FOLDS, test_share=0.5)
    assert (found.mean, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_bad_folds():
    with pytest.raises(ValueError, match="two folds"):
        over_folds({"a": [0.5]}, test_share=0.1)
    with pytest.raises(ValueError, match="each with a training"):
        over_folds({"a": [0.5], "b": []}, test_share=0.1)
    with pytest.raises(ValueError, match="same folds"):
        difference({"a": [0.5], "b": [0.5]}, {"a": [0.5], "c": [0.5]}, test_share=0.1)
