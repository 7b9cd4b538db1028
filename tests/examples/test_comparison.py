"""Means over runs, and the intervals of differences, independent and paired."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from examples.d3d.comparison import Comparison, MeanOfRuns, compare, summarize


def per_seed(*values: float) -> dict[str, float]:
    return {str(k): value for k, value in enumerate(values)}


def drawn(seed: int, first: int, second: int) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    return rng.normal(0.4, 1, first).tolist(), rng.normal(0, 3, second).tolist()


def test_summary_by_hand() -> None:
    assert summarize(per_seed(1.0, 2.0, 3.0)) == MeanOfRuns(2.0, pytest.approx(1 / math.sqrt(3)), 3)
    assert summarize({"4": 83.14}) == MeanOfRuns(83.14, None, 1)


@pytest.mark.parametrize(("first", "second"), [(2, 2), (3, 6), (5, 5), (30, 4)])
def test_independent_runs_against_scipy(first: int, second: int) -> None:
    a, b = drawn(first, first, second)
    test = stats.ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval(0.95)
    result = compare(per_seed(*a), per_seed(*b))
    assert [result.low, result.high] == pytest.approx([interval.low, interval.high], rel=1e-9)
    assert (result.mean / result.standard_error, result.degrees) == pytest.approx((test.statistic, test.df), rel=1e-9)
    assert (result.paired, result.runs) == (False, (first, second))
    assert result.deviations == pytest.approx((np.std(a, ddof=1), np.std(b, ddof=1)))


@pytest.mark.parametrize("seeds", [2, 3, 5, 30])
def test_pairs_against_scipy(seeds: int) -> None:
    a, b = drawn(seeds, seeds, seeds)
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval(0.95)
    result = compare(per_seed(*a), per_seed(*b), paired=True)
    assert [result.low, result.high] == pytest.approx([interval.low, interval.high], rel=1e-9)
    assert (result.mean / result.standard_error, result.degrees) == pytest.approx((test.statistic, seeds - 1), rel=1e-9)
    assert result.deviations == pytest.approx((np.std(np.subtract(a, b), ddof=1),))
    if seeds > 2:
        assert result.correlation == pytest.approx(np.corrcoef(a, b)[0, 1])


def test_pairs_are_those_of_common_seeds_and_independent_runs_are_all() -> None:
    first, second = {"3": 10.0, "1": 20.0, "2": 31.0, "9": 1e6}, {"1": 18.0, "2": 29.5, "3": 7.5, "5": -1e6}
    paired = compare(first, second, names=("D3D", "S3D-G"), paired=True)
    assert paired.words() == "D3D − S3D-G: +2.0 ± 0.3 (paired, 3 runs)"
    apart = compare(first, second)
    assert apart.runs == (4, 4)
    assert apart.mean > 1e5


def test_the_correlation_decides_nothing() -> None:
    values = per_seed(1.0, 5.0, 9.0, 2.0)
    alike = compare(values, {seed: value + 1 + 0.01 * value for seed, value in values.items()})
    assert alike.correlation == pytest.approx(1)
    assert alike.low < 0 < alike.high


@pytest.mark.parametrize("paired", [False, True])
def test_one_run_has_no_spread(paired: bool) -> None:
    one = compare({"0": 83.0}, {"0": 80.0}, names=("D3D", "S3D-G"), paired=paired)
    assert (one.mean, one.standard_error, one.low, one.high, one.deviations) == (3.0, None, None, None, None)
    assert "±" not in one.words()
    assert compare({"0": 83.0}, per_seed(80.0, 81.0)).standard_error is None


def test_equal_runs_do_not_say_how_they_scatter() -> None:
    for paired in (False, True):
        one = compare(per_seed(0.1, 0.1, 0.1), per_seed(0.3, 0.3, 0.3), paired=paired)
        assert (one.standard_error, one.low, one.high) == (0.0, None, None)
    # 80.3 − 80 and 84.3 − 84 differ in their last bits.
    values = per_seed(80.0, 84.0, 82.0)
    assert compare({k: v + 0.3 for k, v in values.items()}, values, paired=True).low is None
    constant = compare(per_seed(2.0, 2.0, 2.0), per_seed(1.0, 1.1, 1.2))
    assert (constant.degrees, constant.standard_error) == pytest.approx((2, 0.1 / math.sqrt(3)))


def test_words() -> None:
    first, second = per_seed(81.0, 82.0, 83.0), per_seed(80.0, 80.0)
    assert compare(first, second).words(digits=2) == "first − second: +2.00 ± 0.58 (Welch, 3 and 2 runs)"
    assert compare({"0": 1.0}, {"1": 1.00001}).words() == "first − second: +0.0 (Welch, 1 and 1 run)"


def test_records_are_json() -> None:
    for result in (compare(per_seed(1.0), per_seed(2.0)), compare(per_seed(1, 2, 4), per_seed(1, 2, 2))):
        again = Comparison(**json.loads(json.dumps(asdict(result), allow_nan=False)))
        assert again.words() == result.words()


def test_bad_input() -> None:
    for call in (lambda: compare({}, {"0": 1.0}), lambda: compare(per_seed(1.0, math.inf), per_seed(1.0, 2.0))):
        with pytest.raises(ValueError, match="finite, at least one"):
            call()
    with pytest.raises(ValueError, match=r"D3D has the seeds \['0'\], S3D-G has \['1'\]: none in common"):
        compare({"0": 1.0}, {"1": 1.0}, names=("D3D", "S3D-G"), paired=True)
    with pytest.raises(ValueError, match="finite, at least one"):
        summarize({})
