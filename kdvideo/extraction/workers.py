"""Worker processes that do a job clip by clip; they may crash or hang, and end with their parent."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from types import TracebackType

import torch

from kdvideo.extraction.job import ClipRow, Job, Outcome
from kdvideo.extraction.locks import Locks
from kdvideo.flow.store.sidecars import tag


class ExtractionError(RuntimeError):
    """An extraction cannot continue; the clips that are done stay, and the same call continues."""


# Errors that stop the whole job: the next clip would meet them too.
JOB_ERRORS = (OSError, torch.OutOfMemoryError, torch.AcceleratorError)


def stop_message(error: BaseException, job: Job) -> str:
    """Return the message of an error that stops a job."""
    if isinstance(error, OSError):
        return f"{job.folder} cannot be written: {error.strerror or error}"
    if isinstance(error, torch.OutOfMemoryError):
        return f"{job.device} is out of memory: use fewer workers or smaller frames"
    return f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _work(connection: Connection, job: Job) -> None:
    """Process clips in a worker, one after the other, until None comes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        locks = Locks(job.folder)
        connection.send(None)
        for row in iter(connection.recv, None):
            connection.send(job.run(row, locks))
    except EOFError:
        pass
    except Exception as error:
        connection.send(stop_message(error, job))


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """Block SIGINT, so that a process started meanwhile ignores Ctrl-C from its first instant."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """A process, the clip that it works on, and since when."""

    def __init__(self, job: Job) -> None:
        # Not a fork: neither CUDA, nor the threads of torch, nor this parent's locks would survive one.
        context = multiprocessing.get_context("spawn")
        self.job, self.since, self.ready = job, 0.0, False
        self.row: ClipRow | None = None
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_work, args=(child, job), daemon=True)
        with _sigint_blocked():
            self.process.start()
        child.close()

    def start(self, row: ClipRow) -> None:
        self.row, self.since = row, time.monotonic()
        with suppress(OSError):  # it died just now, which the next wait on its pipe reports
            self.connection.send(dict(row))

    def stop(self, patience: float = 0) -> int | None:
        """Wait `patience` seconds for the process to end, kill it if it has not, and return its exit code."""
        self.process.join(patience)
        self.process.kill()
        self.process.join(10)
        self.connection.close()
        return self.process.exitcode


class Pool:
    """Worker processes that do a job clip by clip; a context manager that ends them.

    Args:
        job: the work on a clip.
        locks: those of this process.
        workers: how many; 0 works in this process.
        devices: assigned to the workers in turn.
        deadline: seconds that a clip may take until its worker is killed; None sets no limit.
    """

    def __init__(
        self, job: Job, locks: Locks, *, workers: int, devices: Sequence[str] = ("cpu",), deadline: float | None = None
    ) -> None:
        self.jobs = [replace(job, device=devices[i % len(devices)]) for i in range(max(workers, 1))]
        self.locks, self.deadline, self.in_process = locks, deadline, workers == 0
        self.workers: list[_Worker] = []
        self.killed: set[str] = set()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.stop()
            if worker.row is not None:
                with self.locks.try_lock(tag(worker.row["clip"])) as acquired:
                    if acquired:
                        worker.job.remove_temporary(worker.row)
        self.workers = []

    def run(self, rows: Iterable[ClipRow]) -> Iterator[tuple[ClipRow, Outcome]]:
        """Process clips and yield each row with its outcome, in the order in which they finish.

        Raises:
            ExtractionError: a worker cannot start, or met one of `JOB_ERRORS`; without workers, such an error is
                raised as it is.
        """
        if self.in_process:
            yield from ((row, self.jobs[0].run(row, self.locks)) for row in rows)
            return
        queue = deque(rows)
        while len(self.workers) < min(len(self.jobs), len(queue)):
            self.workers.append(_Worker(self.jobs[len(self.workers)]))
        while queue or any(worker.row is not None for worker in self.workers):
            for worker in self.workers:
                if worker.ready and worker.row is None and queue:
                    worker.start(queue.popleft())
            for index in self._wait_for_any():
                row = self.workers[index].row
                outcome = self._receive(index)
                if row is not None and outcome is not None:
                    yield row, outcome
                elif row is not None:
                    queue.appendleft(row)

    def _wait_for_any(self) -> list[int]:
        """Wait for workers that have sent something, died, or are past the deadline, and return their indices."""
        soonest = min(self._seconds_left(worker) for worker in self.workers)
        ready = wait([w.connection for w in self.workers], None if soonest == math.inf else max(soonest, 0))
        return [i for i, w in enumerate(self.workers) if w.connection in ready or self._seconds_left(w) <= 0]

    def _seconds_left(self, worker: _Worker) -> float:
        """Return the seconds until a worker is past the deadline."""
        if self.deadline is None or worker.row is None:
            return math.inf
        return worker.since + self.deadline - time.monotonic()

    def _receive(self, index: int) -> Outcome | None:
        """Return the outcome of a worker's clip; None means that the clip, if any, must be started again."""
        worker = self.workers[index]
        if not worker.connection.poll():
            return self._replace(index, f"took longer than {self.deadline:g} s")
        try:
            message: Outcome | str | None = worker.connection.recv()
        except (EOFError, OSError):
            return self._replace(index, None)
        if isinstance(message, str):
            raise ExtractionError(message)
        worker.ready, worker.row = True, None
        return message

    def _replace(self, index: int, reason: str | None) -> Outcome | None:
        """Replace a worker that died, or is late for a `reason`, and return the outcome of its clip."""
        worker = self.workers[index]
        code = worker.stop(patience=5 if reason is None else 0)
        if not worker.ready:
            raise ExtractionError(f"a worker process ended before it could start (exit code {code})")
        self.workers[index] = _Worker(worker.job)
        if worker.row is None:
            return None
        if reason is None and code == -signal.SIGKILL and worker.row["clip"] not in self.killed:
            self.killed.add(worker.row["clip"])  # by a person or for lack of memory: maybe not the fault of the clip
            return None
        return worker.job.record_failure(worker.row, reason or _cause(code), self.locks)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its worker process died of {signal.Signals(-code).name}"
    return f"its worker process ended with exit code {code}"
