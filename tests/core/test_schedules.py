import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.schedules import Constant, Cosine, Linear, Milestones, Warmup

SCHEDULES = [
    Constant(0.5),
    Linear(0.0, 2.0, steps=10),
    Cosine(1.0, 0.0, steps=10),
    Milestones(0.1, {5: 0.01, 8: 0.001}),
    Warmup(4, then=Cosine(1.0, 0.0, steps=10)),
]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(0.5), [0.5, 0.5, 0.5, 0.5]),
        (Linear(1.0, 3.0, steps=4), [1.0, 1.5, 2.0, 3.0]),
        (Cosine(2.0, 1.0, steps=4), [2.0, 1.5 + math.cos(math.pi / 4) / 2, 1.5, 1.0]),
        (Milestones(4.0, {2: 3.0, 1: 2.0}), [4.0, 2.0, 3.0, 3.0]),
        (Warmup(4, then=Constant(2.0)), [0.5, 1.0, 1.5, 2.0]),
    ],
)
def test_values(schedule, expected: list[float]) -> None:
    steps = [0, 1, 2, 3] if isinstance(schedule, Warmup) else [0, 1, 2, 4]
    assert [schedule(step) for step in steps] == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(SCHEDULES), st.lists(st.integers(0, 10_000), min_size=1, max_size=5))
def test_value_depends_on_the_step_alone(schedule, steps: list[int]) -> None:
    fresh = pickle.loads(pickle.dumps(schedule))
    assert [schedule(step) for step in steps] == [fresh(step) for step in reversed(steps)][::-1]
    assert fresh == schedule


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([Linear, Cosine]), st.integers(1, 1000), st.integers(0, 2000))
def test_ramps_stay_between_their_ends_and_hold_the_last(kind, steps: int, step: int) -> None:
    value = kind(1.0, 3.0, steps=steps)(step)
    assert 1.0 <= value <= 3.0
    assert (step < steps) or value == 3.0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_negative_step_is_refused(schedule) -> None:
    for step in (-1, float("nan")):
        with pytest.raises(ValueError, match=f"step must be at least 0, got {step}"):
            schedule(step)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Linear(0.0, 1.0, steps=0),
        lambda: Cosine(0.0, 1.0, steps=0),
        lambda: Warmup(0, then=Constant(1.0)),
        lambda: Linear(0.0, 1.0, steps=float("nan")),
    ],
)
def test_empty_ramp_is_refused(build) -> None:
    with pytest.raises(ValueError, match=r"at least 1, got (0|nan)"):
        build()
