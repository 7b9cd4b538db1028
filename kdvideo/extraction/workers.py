"""Processes that make the flow of clips, may crash or hang, and die with their parent."""

from __future__ import annotations

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

from kdvideo.extraction.clip import Job, Outcome, Row
from kdvideo.extraction.locks import Locks
from kdvideo.flow.store.sidecars import tag


class ExtractionError(RuntimeError):
    """Extraction cannot go on; the clips that are done stay, and the same command continues."""


EVERYBODYS = (OSError, torch.OutOfMemoryError, torch.AcceleratorError)
"""Errors that are no fault of the clip at hand: the next one would meet them too."""


def sentence(error: BaseException, job: Job) -> str:
    """What stops a job, for a person to read."""
    if isinstance(error, OSError):
        return f"{job.store.folder} cannot be written: {error.strerror or error}"
    if isinstance(error, torch.OutOfMemoryError):
        return f"{job.device} is out of memory: use fewer workers or smaller frames"
    return f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _work(connection: Connection, job: Job) -> None:
    """Life of a worker: one clip after the other, until None comes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which decides
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        locks = Locks(job.store.folder)
        connection.send(None)
        for row in iter(connection.recv, None):
            connection.send(job.run(row, locks))
    except EOFError:
        pass
    except Exception as error:
        connection.send(sentence(error, job))


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _sigint_blocked() -> Iterator[None]:
    """A process started meanwhile is deaf to Ctrl-C from its first instant."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    def __init__(self, job: Job) -> None:
        # Not a fork: neither CUDA, nor the threads of torch, nor this parent's locks would survive one.
        context = multiprocessing.get_context("spawn")
        self.job, self.since, self.ready = job, 0.0, False
        self.row: Row | None = None
        self.connection, child = context.Pipe()
        self.process = context.Process(target=_work, args=(child, job), daemon=True)
        with _sigint_blocked():
            self.process.start()
        child.close()

    def give(self, row: Row) -> None:
        self.row, self.since = row, time.monotonic()
        with suppress(OSError):  # it died just now; its end of the pipe will say so
            self.connection.send(dict(row))

    def end(self, patience: float = 0) -> int | None:
        """Wait for its own end for `patience` seconds, then kill it; its exit code."""
        self.process.join(patience)
        self.process.kill()
        self.process.join(10)
        self.connection.close()
        return self.process.exitcode


class Pool:
    """Worker processes that make the flow of clips; to be used as a context, at whose end they are gone.

    Arguments:
        job: what to do.
        locks: those of this process.
        workers: how many; 0 works in this process.
        devices: dealt out to the workers in turn.
        deadline: seconds that a clip may take until its worker is killed; None sets no limit.
    """

    def __init__(
        self, job: Job, locks: Locks, *, workers: int, devices: Sequence[str] = ("cpu",), deadline: float | None = None
    ) -> None:
        self.jobs = [replace(job, device=devices[i % len(devices)]) for i in range(max(workers, 1))]
        self.locks, self.deadline, self.in_process = locks, deadline, workers == 0
        self.team: list[_Worker] = []
        self.killed: set[str] = set()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.team:
            worker.end()
            if worker.row is not None:
                clip_id = worker.row["clip"]
                with self.locks.held(tag(clip_id)) as mine:
                    if mine:
                        worker.job.clear(clip_id)
        self.team = []

    def run(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Outcome]]:
        """Each row with its outcome, in the order in which they are finished.

        Raises:
            ExtractionError: a worker cannot start, or came upon one of `EVERYBODYS`, which is raised as it is in
                this process.
        """
        if self.in_process:
            yield from ((row, self.jobs[0].run(row, self.locks)) for row in rows)
            return
        queue = deque(rows)
        while len(self.team) < min(len(self.jobs), len(queue)):
            self.team.append(_Worker(self.jobs[len(self.team)]))
        while queue or any(worker.row is not None for worker in self.team):
            for worker in self.team:
                if worker.ready and worker.row is None and queue:
                    worker.give(queue.popleft())
            for place in self._stirring():
                row = self.team[place].row
                outcome = self._hear(place)
                if row is not None and outcome is not None:
                    yield row, outcome
                elif row is not None:
                    queue.appendleft(row)

    def _stirring(self) -> list[int]:
        """Places of the workers that have sent something, died, or are past the deadline; waits for one."""
        soonest = min(self._left(worker) for worker in self.team)
        heard = wait([w.connection for w in self.team], None if soonest == float("inf") else max(soonest, 0))
        return [i for i, w in enumerate(self.team) if w.connection in heard or self._left(w) <= 0]

    def _left(self, worker: _Worker) -> float:
        """Seconds until a worker is past the deadline."""
        if self.deadline is None or worker.row is None:
            return float("inf")
        return worker.since + self.deadline - time.monotonic()

    def _hear(self, place: int) -> Outcome | None:
        """The outcome of the clip of a worker that stirs; None means that the clip, if any, is to be given again."""
        worker = self.team[place]
        if not worker.connection.poll():
            return self._bury(place, f"took longer than {self.deadline:g} s")
        try:
            message: Outcome | str | None = worker.connection.recv()
        except (EOFError, OSError):
            return self._bury(place, None)
        if isinstance(message, str):
            raise ExtractionError(message)
        worker.ready, worker.row = True, None
        return message

    def _bury(self, place: int, reason: str | None) -> Outcome | None:
        """Put a new worker in the place of one that is dead or late; the outcome of its clip."""
        worker = self.team[place]
        code = worker.end(patience=5 if reason is None else 0)
        if not worker.ready:
            raise ExtractionError(f"a worker process ended before it could start (exit code {code})")
        self.team[place] = _Worker(worker.job)
        if worker.row is None:
            return None
        if reason is None and code == -signal.SIGKILL and worker.row["clip"] not in self.killed:
            self.killed.add(worker.row["clip"])  # by a person or for want of memory: that may be no fault of the clip
            return None
        return worker.job.give_up(worker.row, reason or _cause(code), self.locks)


def _cause(code: int | None) -> str:
    if code is not None and code < 0:
        return f"its worker process died of {signal.Signals(-code).name}"
    return f"its worker process ended with exit code {code}"
