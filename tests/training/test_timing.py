"""Timings: what runs when, and the ratios."""

import pytest

from kdvideo.training import Timings
from kdvideo.training.timing import spread_of


def ran(rounds: int, **options: bool | int) -> tuple[list[str], Timings]:
    """Which arm ran at each turn."""
    order: list[str] = []
    times = Timings({name: lambda name=name: order.append(name) or name for name in "abc"}, rounds, **options)
    return order, times


def test_every_arm_runs_once_a_round_in_its_order(capsys):
    order, times = ran(2)
    assert "".join(order) == "abc" * 3  # a round to warm up
    assert times.last == {"a": "a", "b": "b", "c": "c"}
    assert {len(spent) for kind in (times.wall, times.cpu) for spent in kind.values()} == {2}
    assert len(capsys.readouterr().out.splitlines()) == 9


def test_a_shuffled_order_is_drawn_anew_for_every_round_and_the_same_in_every_run(capsys):
    order, times = ran(50, shuffle=True, warm=0, quiet=True)
    rounds = {"".join(order[3 * n : 3 * n + 3]) for n in range(50)}
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(rounds) == 6
    assert order == ran(50, shuffle=True, warm=0, quiet=True)[0]
    assert {len(spent) for spent in times.cpu.values()} == {50}
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("arms", "rounds"), [({"a": int}, 0), ({}, 3)])
def test_nothing_to_time_is_refused(arms, rounds):
    """Fails when it is not looked at: the first ratio raises an error of `statistics`."""
    with pytest.raises(ValueError, match=f"rounds must be at least 1, of one arm or more, got {rounds} of"):
        Timings(arms, rounds)


def test_ratios_are_formed_within_a_round():
    _, times = ran(3, quiet=True)
    times.wall.update(a=[1.0, 2.0, 4.0], b=[2.0, 2.0, 2.0])
    assert times.cost("a", "b") == {"median": 1.0, "min": 0.5, "max": 2.0}
    assert times.ratio("a", "b") == {"median": 1.0, "min": 0.5, "max": 2.0}
    assert times.ratio("a", "a") == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert times.rate("a", 8) == {"median": 4.0, "min": 2.0, "max": 8.0}
    assert spread_of([1 / 3]) == pytest.approx({"median": 0.3333, "min": 0.3333, "max": 0.3333}, abs=1e-12)
