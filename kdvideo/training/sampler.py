"""The order of the data and the random seeds as pure functions of (seed, step): resuming needs one integer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """Compute a seed for everything random in one training step, so that no generator state must be saved.

    Args:
        seed: of the run.
        step: of the training, from 0.
        rank: of the process, from 0.

    Returns:
        An integer in 0 … 2^63 - 1.

    Examples:
        >>> step_seed(0, 5) == step_seed(0, 5), step_seed(0, 5) == step_seed(0, 6)
        (True, False)
    """
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % 2**64
    mixed = ((mixed ^ (mixed >> 31)) * 0xD6E8FEB86659FD93) % 2**64
    return (mixed ^ (mixed >> 32)) % 2**63


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for the steps `start` … `steps` - 1; every epoch is a fresh permutation.

    The samples of a step depend on (seed, step) and the global batch only: a resumed run continues with the
    sample that comes next, and another number of processes sees the same global batches.

    Args:
        length: number of samples in the data set, at least 1.
        batch_size: samples of one step over all processes; a multiple of `world_size`.
        steps: the step at which the run ends.
        seed: of the permutations.
        start: the first step to yield.
        rank: this process, from 0.
        world_size: the number of processes; each takes every `world_size`-th sample.

    Raises:
        ValueError: `length` is below 1, `batch_size` is not a positive multiple of `world_size`, or `rank` is not in
            0 … `world_size` - 1.

    Examples:
        >>> whole = list(StepSampler(4, batch_size=2, steps=3, seed=0))
        >>> whole[2:] == list(StepSampler(4, batch_size=2, steps=3, seed=0, start=2))
        True
        >>> sorted(index for batch in StepSampler(4, batch_size=2, steps=2, seed=0) for epoch, index in batch)
        [0, 1, 2, 3]
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}: the data set is empty")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0..world_size-1 = 0..{world_size - 1}, got {rank}: pass world_size= too")
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(f"batch_size must be a positive multiple of world_size={world_size}, got {batch_size}")
        self.length, self.batch_size, self.steps, self.seed = length, batch_size, steps, seed
        self.start, self.rank, self.world_size = start, rank, world_size

    def __len__(self) -> int:
        return max(0, self.steps - self.start)

    def _permutation(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(step_seed(self.seed, epoch))
        order: list[int] = torch.randperm(self.length, generator=generator).tolist()
        return order

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        known: tuple[int, list[int]] = (-1, [])
        for step in range(self.start, self.steps):
            batch = []
            for position in range(step * self.batch_size + self.rank, (step + 1) * self.batch_size, self.world_size):
                epoch, place = divmod(position, self.length)
                if known[0] != epoch:
                    known = (epoch, self._permutation(epoch))
                batch.append((epoch, known[1][place]))
            yield batch
