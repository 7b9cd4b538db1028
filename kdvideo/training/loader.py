"""Items of a data set that may hang or kill the process that reads them."""

from __future__ import annotations

import signal
from typing import Any

import torch
from torch.utils.data import Dataset, get_worker_info

from kdvideo._processes import start_worker

__all__ = ["Watched", "start_worker"]


class Watched(Dataset[Any]):
    """A data set whose items have a deadline in the workers of a `DataLoader`, and which knows what each works on.

    A worker that is past the deadline ends, also while native code holds the interpreter's lock, and writes where it
    stood. The loader then raises `RuntimeError` in the main process, as it does for a worker that crashed or was
    killed; `at_work` says on which items. Items read in the main process have no deadline.

    Args:
        dataset: asked for item `i` or (epoch, i).
        deadline: seconds for one item; 0: none.
        workers: of the loader.

    Raises:
        ValueError: `deadline` is negative.

    Examples:
        >>> watched = Watched([10, 20, 30], deadline=60, workers=2)
        >>> loader = torch.utils.data.DataLoader(watched, num_workers=2, worker_init_fn=start_worker)
        >>> [batch.item() for batch in loader], watched.at_work()
        ([10, 20, 30], [])
    """

    def __init__(self, dataset: Any, *, deadline: float, workers: int) -> None:
        if deadline < 0:
            raise ValueError(f"deadline must be positive, or 0 for none, got {deadline}")
        self.dataset, self.deadline = dataset, deadline
        now = torch.full((max(workers, 1),), -1, dtype=torch.int64)
        self._now = now.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int | tuple[int, int]) -> Any:
        worker = get_worker_info()
        if worker is None:
            return self.dataset[index]
        self._now[worker.id] = index[1] if isinstance(index, tuple) else index
        signal.setitimer(signal.ITIMER_REAL, self.deadline)
        try:
            return self.dataset[index]
        finally:  # one that raised was at work, and is no more
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._now[worker.id] = -1

    def at_work(self) -> list[int]:
        """List the items on which workers are, or were when they died.

        Returns:
            Their numbers, in the order of the workers.
        """
        return [int(item) for item in self._now if item >= 0]
