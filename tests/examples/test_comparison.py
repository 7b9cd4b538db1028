"""What may be said of values per seed."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from examples.d3d import comparison as st
from examples.d3d.comparison import Verdict


def per_seed(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


def difference(*values: float, **settings: object) -> st.Comparison:
    """A comparison whose paired differences are `values`, however the two methods vary."""
    base = [50 + 7 * (-1) ** k for k in range(len(values))]
    first = per_seed(*[b + v for b, v in zip(base, values, strict=True)])
    return st.compare(first, per_seed(*base), names=("D3D", "S3D-G"), **settings)


def test_summary_by_hand() -> None:
    summary = st.summarize(per_seed(1.0, 2.0, 3.0))
    assert (summary.mean, summary.standard_error, summary.seeds) == (2.0, pytest.approx(1 / math.sqrt(3)), 3)
    assert summary.words() == "2.0 ± 0.6 (3 seeds)"
    assert summary.words(digits=3) == "2.000 ± 0.577 (3 seeds)"


def test_one_seed_has_no_spread() -> None:
    assert st.summarize({4: 83.14}) == st.MeanOfSeeds(83.14, None, 1)
    assert st.summarize({4: 83.14}).words() == "83.1 (1 seed)"
    one = difference(3.0)
    assert (one.standard_error, one.low, one.high) == (None, None, None)
    assert one.words().endswith(": +3.0 (paired, 1 seed), cannot tell")
    for claim in (st.greater(one), st.about_equal(one, margin=5), st.at_most(one, margin=5)):
        assert claim is Verdict.CANNOT_TELL


def test_comparison_by_hand() -> None:
    result = difference(1, 2, 3, 4, 5)
    assert result.mean == pytest.approx(3)
    assert result.standard_error == pytest.approx(math.sqrt(2.5 / 5))
    # The table of t: 2.776 at 4 degrees of freedom.
    assert [result.low, result.high] == pytest.approx([3 - 2.776445 * 0.707107, 3 + 2.776445 * 0.707107], abs=1e-5)
    wide = difference(1, 2, 3, 4, 5, confidence=0.99)
    assert wide.high == pytest.approx(3 + 4.604095 * 0.707107, abs=1e-5)


@pytest.mark.parametrize("seeds", [2, 3, 5, 30])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_comparison_against_scipy(seeds: int, confidence: float) -> None:
    rng = np.random.default_rng(seeds)
    a, b = rng.normal(0.4, 1, seeds), rng.normal(0, 1, seeds)
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval(confidence)
    result = st.compare(per_seed(*a.tolist()), per_seed(*b.tolist()), confidence=confidence)
    assert [result.low, result.high] == pytest.approx([interval.low, interval.high], rel=1e-9)
    assert result.mean / result.standard_error == pytest.approx(test.statistic, rel=1e-9)


def test_the_verdict_is_that_of_the_paired_test() -> None:
    rng, seen = np.random.default_rng(0), set()
    for _ in range(60):
        a, b = rng.normal(1, 1, 4), rng.normal(0, 1, 4)
        verdict = st.greater(st.compare(per_seed(*a.tolist()), per_seed(*b.tolist())))
        sign = Verdict.HOLDS if a.mean() > b.mean() else Verdict.DOES_NOT_HOLD
        assert verdict is (sign if stats.ttest_rel(a, b).pvalue < 0.05 else Verdict.CANNOT_TELL)
        seen.add(verdict)
    assert {Verdict.HOLDS, Verdict.CANNOT_TELL} <= seen


def test_pairs_are_those_of_common_seeds() -> None:
    first, second = {3: 10.0, 1: 20.0, 2: 31.0, 9: 1e6}, {1: 18.0, 2: 29.5, 3: 7.5, 5: -1e6, 6: 0.0}
    result = st.compare(first, second, names=("D3D", "S3D-G"))
    assert result.mean == pytest.approx(2)
    assert (result.seeds, result.unpaired) == (3, 3)
    assert result.words() == "D3D > S3D-G by 2.0 ± 0.3 (paired, 3 seeds, 3 unpaired left out)"


def test_words() -> None:
    assert difference(2.0, 3.0, 4.0).words() == "D3D > S3D-G by 3.0 ± 0.6 (paired, 3 seeds)"
    assert difference(-2.0, -3.0, -4.0).words(digits=2) == "D3D < S3D-G by 3.00 ± 0.58 (paired, 3 seeds)"
    assert difference(-2.0, 0.5, 2.7).words() == "D3D − S3D-G: +0.4 ± 1.4 (paired, 3 seeds), cannot tell"
    assert difference(-2.0, 0.5, 1.4).words() == "D3D − S3D-G: +0.0 ± 1.0 (paired, 3 seeds), cannot tell"
    assert difference(3.0, 3.2).words() == "D3D − S3D-G: +3.1 ± 0.1 (paired, 2 seeds), cannot tell"


def test_greater() -> None:
    assert st.greater(difference(2, 3, 4)) is Verdict.HOLDS
    assert st.greater(difference(-2, -3, -4)) is Verdict.DOES_NOT_HOLD
    assert st.greater(difference(-1, 3, 4)) is Verdict.CANNOT_TELL
    assert st.greater(difference(0, 0, 0)) is Verdict.CANNOT_TELL
    assert st.greater(difference(3.0, 3.001)) is Verdict.CANNOT_TELL


def test_about_equal() -> None:
    near = difference(-0.1, 0.0, 0.1)  # 0 ± 0.248
    assert st.about_equal(near, margin=0.25) is Verdict.HOLDS
    assert st.about_equal(near, margin=0.24) is Verdict.CANNOT_TELL
    assert st.about_equal(difference(4.9, 5.0, 5.1), margin=4.7) is Verdict.DOES_NOT_HOLD
    assert st.about_equal(difference(4.9, 5.0, 5.1), margin=5.2) is Verdict.CANNOT_TELL
    assert st.about_equal(difference(-4.9, -5.0, -5.1), margin=4.7) is Verdict.DOES_NOT_HOLD
    assert st.about_equal(difference(-4.9, -5.0, -5.1), margin=5.2) is Verdict.CANNOT_TELL
    assert st.about_equal(difference(0, 0, 0), margin=1e-9) is Verdict.HOLDS
    assert st.about_equal(difference(0.0, 0.001), margin=1) is Verdict.CANNOT_TELL


def test_no_significant_difference_is_not_equality() -> None:
    noisy = difference(-5, 0, 5)
    assert st.greater(noisy) is st.about_equal(noisy, margin=2) is Verdict.CANNOT_TELL


def test_at_most() -> None:
    assert st.at_most(difference(-4.9, -5.0, -5.1), margin=1) is Verdict.HOLDS
    assert st.at_most(difference(0.4, 0.5, 0.6), margin=1) is Verdict.HOLDS
    assert st.at_most(difference(0.4, 0.5, 0.6), margin=0.7) is Verdict.CANNOT_TELL
    assert st.at_most(difference(0.4, 0.5, 0.6), margin=0.2) is Verdict.DOES_NOT_HOLD


def test_records_are_json() -> None:
    for result in (difference(1.0), difference(1, 2, 4)):
        assert json.loads(json.dumps(asdict(result), allow_nan=False))
    assert json.dumps(st.greater(difference(1, 2, 3))) == '"cannot tell"'


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="at least one number"):
        st.summarize({})
    with pytest.raises(ValueError, match=r"finite.*\{1: nan\}"):
        st.summarize({0: 1.0, 1: math.nan})
    with pytest.raises(ValueError, match=r"D3D has the seeds \[0\], S3D-G has \[1\]: none in common"):
        st.compare({0: 1.0}, {1: 1.0}, names=("D3D", "S3D-G"))
    with pytest.raises(ValueError, match="finite"):
        st.compare({0: 1.0, 1: math.inf}, {0: 1.0, 1: 2.0})
    for confidence in (0, 1, 95):
        with pytest.raises(ValueError, match="confidence"):
            difference(1, 2, 3, confidence=confidence)
    for margin in (0, -1, math.nan, math.inf):
        for claim in (st.about_equal, st.at_most):
            with pytest.raises(ValueError, match="margin"):
                claim(difference(1, 2, 3), margin=margin)
