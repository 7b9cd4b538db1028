"""When a claim holds: one-sided tests, Holm's correction, and the runs that would show it."""

import math

import numpy as np
import pytest
from scipy import stats

from examples.d3d import significance
from examples.d3d.comparison import Comparison, compare
from examples.d3d.significance import ABOVE_ZERO, Range, Verdict, about_equal, at_most, decide, holm, power, runs_needed


def differing(*values: float) -> Comparison:
    """A comparison whose paired differences are `values`."""
    return compare(
        {str(k): 50.0 + 7 * (-1) ** k + v for k, v in enumerate(values)},
        {str(k): 50.0 + 7 * (-1) ** k for k in range(len(values))},
        paired=True,
    )


def p_value(*values: float, where: Range = ABOVE_ZERO) -> tuple[float, bool]:
    found = significance.examine([differing(*values)], where)
    assert found
    return found


def test_above_zero_is_the_two_sided_test() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.normal(1, 1, 4), rng.normal(0, 2, 6)
        found = significance.examine([compare(dict(enumerate(a)), dict(enumerate(b)))], ABOVE_ZERO)
        assert found.p_value == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)
        assert found.holds == (a.mean() > b.mean())


def test_equivalence_is_two_one_sided_tests_by_hand() -> None:
    # Mean 1, standard error 0.5 / √4 = 0.25: t = (2 − 1) / 0.25 = 4 above, (1 + 2) / 0.25 = 12 below, 3 degrees.
    values = [1 + 0.5 * d for d in (-1.5, -0.5, 0.5, 1.5)]
    scaled = [1 + (v - 1) * 0.5 / np.std(values, ddof=1) for v in values]
    upper, lower = stats.t.sf(4, 3), stats.t.sf(12, 3)
    assert p_value(*scaled, where=about_equal(2.0)) == (pytest.approx(2 * max(upper, lower)), True)
    assert p_value(*scaled, where=at_most(2.0)) == (pytest.approx(2 * upper), True)
    assert 2 * upper == pytest.approx(0.028, abs=5e-4)  # the table of t: 4 at 3 degrees of freedom
    outside = p_value(*(v + 2 for v in scaled), where=about_equal(2.0))  # t = (3 − 2) / 0.25
    assert outside == (pytest.approx(2 * upper), False)
    assert p_value(*(v - 9 for v in scaled), where=at_most(2.0))[1]
    assert not p_value(*(v - 9 for v in scaled), where=about_equal(2.0))[1]


@pytest.mark.parametrize("where", [ABOVE_ZERO, at_most(2.0), about_equal(2.0)])
def test_below_five_per_cent_is_where_the_interval_lies_inside_or_outside(where: Range) -> None:
    rng, seen = np.random.default_rng(1), set()
    for _ in range(300):
        one = differing(*rng.normal(rng.uniform(-6, 6), 1, 4))
        found = significance.examine([one], where)
        inside = where.least < one.low and one.high < where.most
        outside = one.high < where.least or one.low > where.most
        assert (found.p_value < 0.05) == (inside or outside)
        assert found.holds or not inside
        assert not (found.holds and outside)
        seen.add((inside, outside))
    assert len(seen) == 3


def test_the_error_of_a_claim_at_the_edge_of_its_range_is_at_most_five_per_cent() -> None:
    rng, wrong, trials = np.random.default_rng(2), 0, 4000
    for row in rng.normal(2.0, 1, (trials, 6)):
        one = Comparison("", "", row.mean(), row.std(ddof=1) / 6**0.5, 0, 0, 5, (1.0,), (6, 6), True, None)
        wrong += significance.examine([one], about_equal(2.0)).p_value < 0.05
    assert wrong / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert wrong / trials > 0.02


def test_of_several_pairs_all_must_be_shown_and_one_refutes() -> None:
    clear, unclear, against = differing(2, 3, 4), differing(-1, 3, 4), differing(-2.0, -2.1, -1.9)
    alone = [significance.examine([one]).p_value for one in (clear, unclear, against)]
    assert significance.examine([clear, unclear]) == (pytest.approx(alone[1]), True)
    assert significance.examine([clear, unclear, against]) == (pytest.approx(3 * alone[2]), False)


def test_too_few_runs_and_runs_without_scatter_are_not_tested() -> None:
    assert significance.examine([differing(1.0, 2.0)]) is None
    assert significance.examine([differing(1, 2, 3), differing(2, 2, 2)]) is None
    decided = decide({"few": ([differing(9.0, 9.1)], ABOVE_ZERO), "equal": ([differing(9, 9, 9)], ABOVE_ZERO)})
    assert [one.verdict for one in decided.values()] == [Verdict.TOO_FEW_RUNS, Verdict.NO_SCATTER]
    assert [one.p_value for one in decided.values()] == [None, None]


def test_holm_by_hand() -> None:
    # Holm (1979): 0.01 · 4, 0.02 · 3, 0.03 · 2 (raised to the one before), 0.04 · 1 (raised).
    assert holm({"a": 0.03, "b": 0.01, "c": 0.04, "d": 0.02}) == pytest.approx(
        {"b": 0.04, "d": 0.06, "a": 0.06, "c": 0.06}
    )
    # The example of R's p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm").
    found = holm(dict(enumerate((0.01, 0.02, 0.03, 0.04, 0.05))))
    assert list(found.values()) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}


def test_a_claim_holds_only_after_the_correction() -> None:
    one = ([differing(2, 3, 4)], ABOVE_ZERO)
    assert decide({"one": one})["one"].verdict is Verdict.HOLDS
    noise = {k: ([differing(-1, 1, 0.1 * k)], ABOVE_ZERO) for k in range(5)}
    together = decide({"one": one, **noise})
    assert together["one"].verdict is Verdict.NEEDS_RUNS
    assert together["one"].p_value == pytest.approx(6 * significance.examine(*one).p_value)
    assert decide({"one": ([differing(-2, -3, -4)], ABOVE_ZERO)})["one"].verdict is Verdict.DOES_NOT_HOLD


def test_a_refuted_equivalence() -> None:
    assert decide({0: ([differing(5, 5.1, 4.9)], about_equal(2))})[0].verdict is Verdict.DOES_NOT_HOLD
    assert decide({0: ([differing(5, 5.1, 4.9)], at_most(2))})[0].verdict is Verdict.DOES_NOT_HOLD
    assert decide({0: ([differing(-5, -5.1, -4.9)], at_most(2))})[0].verdict is Verdict.HOLDS


def test_no_number_of_runs_helps_a_difference_on_the_wrong_side() -> None:
    for values, where in (((-3, 2, 0.5), ABOVE_ZERO), ((-4, 9, 3), about_equal(2)), ((-4, 9, 3), at_most(2))):
        found = decide({0: ([differing(*values)], where)})[0]
        sign = f"{np.mean(values):+.1f}"
        assert (found.verdict, found.runs) == (Verdict.NOT_SEEN, None)
        assert f"difference of {sign} no number" in found.words(sign)
    assert runs_needed([differing(1, 2, 3), differing(-3, 2, 0.5)]) is None


def simulated(one: Comparison, where: Range, runs: int, level: float, trials: int = 4000) -> float:
    """The share of experiments of so many runs, drawn as the pilot says, that show the claim."""
    rng = np.random.default_rng(0)
    groups = [rng.normal(mean, s, (trials, runs)) for mean, s in zip((one.mean, 0.0), one.deviations, strict=False)]
    parts = [group.var(1, ddof=1) / runs for group in groups]
    mean = groups[0].mean(1) - (groups[1].mean(1) if len(groups) > 1 else 0)
    degrees = sum(parts) ** 2 / sum(v**2 / (runs - 1) for v in parts)
    half = stats.t.isf(level / 2, degrees) * np.sqrt(sum(parts))
    return float(((mean - half > where.least) & (mean + half < where.most)).mean())


WELCH = compare({"0": 70.0, "1": 76.0, "2": 75.0}, {"0": 68.0, "1": 69.0, "2": 67.0})
PAIRED = differing(0.2, 1.4, -0.8, 0.9)


@pytest.mark.parametrize("level", [0.05, 0.01])
@pytest.mark.parametrize(("one", "where"), [(WELCH, ABOVE_ZERO), (PAIRED, ABOVE_ZERO), (PAIRED, at_most(2.0))])
def test_the_runs_needed_have_the_power_in_a_simulation(one: Comparison, where: Range, level: float) -> None:
    runs = runs_needed([one], where, level=level)
    assert power(one, where, runs, level) >= 0.8 > power(one, where, runs - 1, level)
    assert simulated(one, where, runs, level) == pytest.approx(power(one, where, runs, level), abs=0.05)


def test_the_power_of_an_equivalence_is_a_lower_bound() -> None:
    runs = runs_needed([PAIRED], about_equal(1.5))
    assert 0.79 <= simulated(PAIRED, about_equal(1.5), runs, 0.05) <= 0.9


def test_the_power_has_no_step_where_t_is_taken_as_normal() -> None:
    small = differing(0.01, 1.4, -1.5, 0.2)
    runs = significance.MANY
    assert power(small, ABOVE_ZERO, runs) == pytest.approx(power(small, ABOVE_ZERO, runs + 2), abs=1e-3)
    assert runs_needed([small]) > runs


def test_several_pairs_need_the_runs_of_the_hardest_and_more_power() -> None:
    easy, hard = differing(3, 4, 5), differing(-1, 3, 1)
    both = runs_needed([easy, hard])
    assert both > runs_needed([hard]) > runs_needed([easy])
    assert power(hard, ABOVE_ZERO, both) >= 0.9


def test_the_runs_are_those_at_the_level_that_holm_asks_of_the_open_claims() -> None:
    open_one = ([differing(-1, 3, 1)], ABOVE_ZERO)
    clear = ([differing(9.0, 9.001, 9.002)], ABOVE_ZERO)
    assert decide({0: open_one, 1: clear})[0].runs == runs_needed(*open_one)
    assert decide({0: open_one, 1: clear, 2: open_one})[0].runs == runs_needed(*open_one, level=0.025)


def test_bad_margins() -> None:
    for margin in (0, -1, math.nan, math.inf):
        for claim in (about_equal, at_most):
            with pytest.raises(ValueError, match="margin must be positive"):
                claim(margin)
