"""Which clips are being made at this moment, by any process on any machine that shares the folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = ".lock"


class Locks:
    """One lock per clip, all in one file: byte ranges, which the kernel lets go when their holder dies.

    Nothing goes stale, a stopped process keeps what it holds, and network file systems pass the locks on. They
    belong to the process: open them once in each, for closing any descriptor of the file drops all of them.

    Arguments:
        folder: where the file `.lock` is; both are made if need be.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o666)

    def close(self) -> None:
        """Let go of all locks."""
        os.close(self._file)

    @contextmanager
    def held(self, tag: str) -> Iterator[bool]:
        """Whether the lock `tag` (hexadecimal, up to 16 digits) is this process's, until the end of the context."""
        at = int(tag, 16) >> 2  # offsets have 62 bits
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
        except (BlockingIOError, PermissionError):  # POSIX allows both
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, at)

    @contextmanager
    def waited_for(self, tag: str) -> Iterator[None]:
        """As `held`, but waits until the lock is free."""
        at = int(tag, 16) >> 2
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, at)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, at)
