"""Clips in processes of their own, which may crash or hang: that costs the clip alone."""

from __future__ import annotations

import fcntl
import itertools
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace

import torch

from kdvideo._processes import start_worker
from kdvideo.extraction.job import ClipRow, ExtractionError, Job, Outcome

_job: Job  # that of this process, where it is a child


class Isolated:
    """A function that does a job on a clip in a child process; as many children as threads that call it at once.

    A child that crashes, or is past the deadline, costs its clip and is replaced. A child that was killed costs
    nothing the first time: it may have been a person, or want of memory.

    Args:
        job: the work on a clip.
        devices: of the children in turn; "cuda" is the GPU of its machine that the fewest processes have.
        deadline: seconds that a clip may take until its child is killed; 0 sets no limit.
    """

    def __init__(self, job: Job, devices: Sequence[str], deadline: float) -> None:
        self.job, self.deadline, self.stopped = job, deadline, False
        self._devices = itertools.cycle(devices)
        self._freed: list[str] = []
        self._idle: list[_Child] = []
        self._all: list[_Child] = []

    def __call__(self, row: ClipRow) -> Outcome:
        """Make the file of a clip; ExtractionError says why the whole job cannot continue."""
        for _ in range(2):
            child = self._take()
            try:
                outcome = child.pool.submit(_run, dict(row), self.deadline).result()
                self._idle.append(child)
                return outcome
            except BrokenProcessPool:
                code = self._end(child)
            if self.stopped:
                raise ExtractionError("stopped")
            if code != -signal.SIGKILL:
                break
        try:
            return self.job.record_failure(row, self._cause(code))
        except OSError as error:
            raise ExtractionError(self.job.stop_message(error)) from error

    def stop(self) -> None:
        """Kill all children, whatever they do."""
        self.stopped = True
        for child in list(self._all):
            child.process.kill()

    def _take(self) -> _Child:
        """Return an idle child, or a new one."""
        with suppress(IndexError):
            return self._idle.pop()
        child = _Child(replace(self.job, device=self._freed.pop() if self._freed else next(self._devices)))
        self._all.append(child)
        if self.stopped:
            child.process.kill()
        return child

    def _end(self, child: _Child) -> int | None:
        """Return the exit code of a child that has died."""
        self._all.remove(child)
        self._freed.append(child.device)
        child.pool.shutdown()
        return child.process.exitcode

    def _cause(self, code: int | None) -> str:
        if code == -signal.SIGALRM:
            return f"took longer than {self.deadline:g} s"
        if code is not None and code < 0:
            return f"its worker process died of {signal.Signals(-code).name}"
        return f"its worker process ended with exit code {code}"


class _Child:
    """One process; ExtractionError, or ValueError of the job, says why it cannot start."""

    def __init__(self, job: Job) -> None:
        self.device = job.device
        # Not a fork: neither CUDA nor the threads of torch would survive one.
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start)
        # In this thread, which needs no signal, and so in the child from its first instant: Ctrl-C is the parent's. Not
        # before, as the first pool starts Python's resource tracker, which unblocks it again.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            pid = self.pool.submit(_begin, job).result()
        except BrokenProcessPool:
            raise ExtractionError("a worker process ended before it could start") from None
        self.process = next(process for process in multiprocessing.active_children() if process.pid == pid)


def _start() -> None:
    """Begin a child: it ends with its parent, by an alarm, or when it is told to."""
    start_worker()
    torch.set_num_threads(1)


def _begin(job: Job) -> int:
    """Take a job, and a GPU if it needs one, in a child; return the number of the process.

    Raises:
        ValueError: what the job needs does not run on this machine.
    """
    global _job
    _job = replace(job, device=deal()) if job.device == "cuda" else job
    _job.warm_up()
    return os.getpid()


def _run(row: ClipRow, deadline: float) -> Outcome:
    """Make the file of a clip, in a child, which the kernel ends at the deadline."""
    signal.setitimer(signal.ITIMER_REAL, deadline)
    try:
        return _job.run(row)
    except Exception as error:
        raise ExtractionError(_job.stop_message(error)) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def deal() -> str:
    """Return the GPU that the fewest processes of this machine and user have been dealt; it is ours until we end."""
    names = [str(torch.cuda.get_device_properties(k).uuid) for k in range(torch.cuda.device_count())]
    if not names:
        raise ExtractionError('device "cuda" needs a GPU, but torch sees none in a worker process')
    for place in itertools.count():
        for index, name in enumerate(names):
            path = os.path.join(tempfile.gettempdir(), f"kdvideo-{os.getuid()}-{name}-{place}")
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return f"cuda:{index}"
            except BlockingIOError:
                os.close(file)
    raise AssertionError
