"""What one of several processes has of every batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kdvideo.training import StepSampler


@dataclass(frozen=True)
class Share:
    """The part of one process: every n-th clip of a batch, or once more its first one where there are none left.

    Any number of processes thus trains on the same batches: the loss of each counts by its `weight`.
    """

    whole: StepSampler
    rank: int
    processes: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield (epoch, index) of the clips of every batch."""
        for batch in self.whole:
            yield batch[self.rank :: self.processes] or batch[:1]

    @property
    def weight(self) -> float:
        """The factor of the loss with which the mean over the processes is the mean over the batch."""
        size = self.whole.batch_size
        return len(range(self.rank, size, self.processes)) * self.processes / size
