"""Where clips are worked on: in this process, in processes of this machine, or on a Dask cluster.

An engine is a context that gives a function from a clip to the future of its outcome, and how many clips it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from kdvideo.extraction.isolated import Isolated
from kdvideo.extraction.job import ClipRow, Job, Outcome


class Engine(NamedTuple):
    """What takes clips, and how many of them at a time."""

    submit: Callable[[ClipRow], Future[Outcome]]
    width: Callable[[], int]
    outcome: Callable[[Future[Outcome], ClipRow], Outcome] = lambda future, row: future.result()

    def outcomes(
        self, rows: Iterable[ClipRow], at_work: dict[Future[Outcome], ClipRow]
    ) -> Iterator[tuple[ClipRow, Outcome]]:
        """Yield each clip with its outcome, in the order in which they finish; keep what is under way in `at_work`."""
        rows = iter(rows)
        while True:
            for row in islice(rows, max(self.width() - len(at_work), 0)):
                at_work[self.submit(row)] = row
            if not at_work:
                return
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                outcome = self.outcome(future, at_work[future])
                yield at_work.pop(future), outcome


@contextmanager
def in_process(job: Job) -> Iterator[Engine]:
    """Work here, clip after clip; one that crashes or hangs takes this process with it."""

    def submit(row: ClipRow) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        future.set_result(job.run(row))
        return future

    yield Engine(submit, lambda: 1)


@contextmanager
def processes(job: Job, workers: int, devices: Sequence[str], deadline: float) -> Iterator[Engine]:
    """Work in processes of this machine."""
    isolated = Isolated(job, devices, deadline)
    with ThreadPoolExecutor(workers) as threads:
        try:
            yield Engine(lambda row: threads.submit(isolated, row), lambda: workers)
        finally:
            isolated.stop()
