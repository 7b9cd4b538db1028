"""The process that reads clips and runs networks: a clip that hangs or crashes a decoder costs itself alone."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from kdvideo._processes import start_worker
from kdvideo.demo.answering import Answer, answer, check_clip
from kdvideo.predict import Predictor

_predictors: dict[str, Predictor] = {}  # of this process, where it is the child


class Worker:
    """A child process with some networks, in which clips are answered one after the other.

    Args:
        weights: name -> file of weights.
        deadline: seconds that a clip may take until the child is ended, and a new one started.

    Raises:
        ValueError: a file is not of a network that kdvideo builds.
        OSError: it cannot be read.
    """

    def __init__(self, weights: Mapping[str, str], deadline: float) -> None:
        self.weights, self.deadline = dict(weights), deadline
        # A child dies with the thread that started it, and those of a server come and go.
        self._thread = ThreadPoolExecutor(1)
        self._pool = self._thread.submit(self._start).result()

    def __call__(self, clip: str) -> list[Answer]:
        """Return what every network says of a clip.

        Raises:
            ClipError: the clip cannot be read, or is too large.
            TimeoutError: it took too long, or the process died of it.
        """
        return self._thread.submit(self._ask, clip).result()

    def close(self) -> None:
        """End the child."""
        self._pool.shutdown(cancel_futures=True)
        self._thread.shutdown()

    def _ask(self, clip: str) -> list[Answer]:
        try:
            return self._pool.submit(_answer, clip, self.deadline).result()
        except BrokenProcessPool:
            self._pool.shutdown()
            self._pool = self._start()
            limit = f"the clip took longer than {self.deadline:g} s, or its decoder crashed"
            raise TimeoutError(f"{limit}: try a shorter one, or kdvideo predict") from None

    def _start(self) -> ProcessPoolExecutor:
        # Not a fork: the threads of the page's server would not survive one.
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), start_worker)
        pool.submit(_load, self.weights).result()
        return pool


def _load(weights: Mapping[str, str]) -> None:
    _predictors.update({name: Predictor(file) for name, file in weights.items()})


def _answer(clip: str, deadline: float) -> list[Answer]:
    signal.setitimer(signal.ITIMER_REAL, deadline)  # the kernel ends the process then
    try:
        check_clip(clip)
        return [answer(name, one, clip) for name, one in _predictors.items()]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
