"""An engine of Dask: workers on many machines that share the folders of the videos and of the output."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from kdvideo.extraction.engines import Engine
from kdvideo.extraction.isolated import Isolated
from kdvideo.extraction.job import ClipRow, ExtractionError, Job, Outcome

_isolated: dict[str, Isolated] = {}  # in a Dask worker, by run; of a client that was killed until others have come
KEPT = 4


@contextmanager
def cluster(job: Job, scheduler: str | int, devices: Sequence[str], deadline: float) -> Iterator[Engine]:
    """Work on the Dask cluster of a scheduler, or on one of so many workers of this machine.

    Clips run in children of the workers, as they do without Dask: no clip takes a worker down, and Dask starts anew
    the clips of workers that are lost.

    Raises:
        ExtractionError: there is no such scheduler, or it is gone.
    """
    run, gone = uuid.uuid4().hex, False
    with _client(scheduler) as client:
        pool = client.get_executor(pure=False)

        def submit(row: ClipRow) -> Future[Outcome]:
            with _connected():
                future: Future[Outcome] = pool.submit(_make, run, job, tuple(devices), deadline, row)
            return future

        def width() -> int:
            with _connected():
                threads = sum(map(int, client.nthreads().values()))
            return 2 * max(threads, 4)  # a clip waits at each worker; more workers may come

        try:
            yield Engine(submit, width, partial(_outcome, job))
        except CancelledError:
            gone = True
            raise ExtractionError("the Dask scheduler is gone") from None
        finally:
            if not gone:
                pool.shutdown(wait=False)
                with suppress(OSError, RuntimeError):
                    client.run(_forget, run)


@contextmanager
def _connected() -> Iterator[None]:
    """Say as futures do that the scheduler is gone: a client has several errors for it, by the instant."""
    try:
        yield
    except Exception as error:
        raise CancelledError from error


def _outcome(job: Job, future: Future[Outcome], row: ClipRow) -> Outcome:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        return job.record_failure(row, f"{error.allowed_failures + 1} Dask workers died while it was theirs")


@contextmanager
def _client(scheduler: str | int) -> Iterator[Any]:
    try:
        from distributed import Client, LocalCluster
    except ModuleNotFoundError:
        raise ValueError('Dask is not installed: run pip install "kdvideo[cluster]"') from None
    with ExitStack() as stack:
        address: Any = scheduler
        if isinstance(scheduler, int):
            local = LocalCluster(
                n_workers=scheduler,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
            address = stack.enter_context(local)
        try:
            client = stack.enter_context(Client(address))
        except OSError as error:
            raise ExtractionError(f"no Dask scheduler at {scheduler}: {error}") from None
        print(f"Dask's dashboard: {client.dashboard_link}", file=sys.stderr)
        yield client


def _make(run: str, job: Job, devices: Sequence[str], deadline: float, row: ClipRow) -> Outcome:
    """Make the file of a clip in a child of this Dask worker."""
    multiprocessing.current_process().daemon = False  # Dask's default forbids children; ours end with their parent
    isolated = _isolated.setdefault(run, Isolated(job, devices, deadline))
    for other in list(_isolated)[:-KEPT]:
        _isolated.pop(other, None)
    return isolated(row)


def _forget(run: str) -> None:
    _isolated.pop(run, None)
