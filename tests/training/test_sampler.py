"""The order of the data is a pure function of (seed, step)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.training import StepSampler, step_seed

SIZES = {"length": st.integers(1, 40), "batch": st.integers(1, 8), "steps": st.integers(1, 20)}


@given(seed=st.integers(0, 2**40), start=st.integers(0, 20), **SIZES)
@settings(deadline=None, max_examples=50)
def test_a_resumed_run_continues_the_order(length: int, batch: int, steps: int, seed: int, start: int) -> None:
    whole = list(StepSampler(length, batch_size=batch, steps=steps, seed=seed))
    resumed = StepSampler(length, batch_size=batch, steps=steps, seed=seed, start=start)
    assert list(resumed) == whole[start:]
    assert len(resumed) == len(whole[start:])


@given(seed=st.integers(0, 2**40), length=st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_every_epoch_sees_every_sample_once(length: int, seed: int) -> None:
    batches = list(StepSampler(length, batch_size=1, steps=3 * length, seed=seed))
    for epoch in range(3):
        assert sorted(i for ((e, i),) in batches if e == epoch) == list(range(length))


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batches_of_one(world_size: int) -> None:
    """Fails when `StepSampler` gives a process a block of the batch, and not every n-th sample."""
    whole = list(StepSampler(10, batch_size=4, steps=7, seed=3))
    ranks = [StepSampler(10, batch_size=4, steps=7, seed=3, rank=r, world_size=world_size) for r in range(world_size)]
    for step, parts in enumerate(zip(*ranks, strict=True)):
        assert list(parts) == [whole[step][rank::world_size] for rank in range(world_size)]


def test_epochs_and_seeds_differ() -> None:
    first, second = list(StepSampler(20, batch_size=20, steps=2, seed=0))
    other = next(iter(StepSampler(20, batch_size=20, steps=1, seed=1)))
    order = [[i for _, i in batch] for batch in (first, second, other)]
    assert order[0] != order[1] != order[2] != order[0]


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        StepSampler(0, batch_size=1, steps=1, seed=0)
    with pytest.raises(ValueError, match="multiple of world_size=2, got 3"):
        StepSampler(5, batch_size=3, steps=1, seed=0, world_size=2)


@pytest.mark.parametrize(("rank", "world_size"), [(1, 1), (5, 2), (-1, 2), (0, 0)])
def test_a_rank_outside_the_world_is_refused(rank: int, world_size: int) -> None:
    """Fails when the rank is not checked: batches of a forgotten `world_size` begin late, or are empty."""
    with pytest.raises(ValueError, match=rf"0\.\.{world_size - 1}, got {rank}: pass world_size= too"):
        StepSampler(8, batch_size=2, steps=1, seed=0, rank=rank, world_size=world_size)


def test_step_seeds_do_not_collide() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(10) for step in range(1000) for rank in range(4)}
    assert len(seeds) == 40_000
    assert all(0 <= seed < 2**63 for seed in seeds)
