"""Locks on single clips among all processes and machines that share a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = ".lock"


class Locks:
    """One lock per clip, all in one file: byte ranges, which the kernel releases when their holder dies.

    No lock goes stale, a stopped process keeps what it holds, and network file systems pass the locks on. They
    belong to the process: open them once in each, for closing any descriptor of the file releases all of them.

    Args:
        folder: where the file `.lock` is; both are made if need be.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)

    def close(self) -> None:
        """Release all locks."""
        os.close(self._file)

    @contextmanager
    def try_lock(self, tag: str) -> Iterator[bool]:
        """Hold the lock `tag` (hexadecimal, up to 16 digits) if it is free; yields whether it was."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(tag))
        except (BlockingIOError, PermissionError):  # POSIX allows both
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _offset(tag))

    @contextmanager
    def lock(self, tag: str) -> Iterator[None]:
        """Wait until the lock `tag` is free, and hold it."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _offset(tag))
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _offset(tag))


def _offset(tag: str) -> int:
    return int(tag, 16) >> 2  # offsets have 62 bits
