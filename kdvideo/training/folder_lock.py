"""A lock on a folder that one process holds, and that ends with it."""

from __future__ import annotations

import fcntl
import os
import socket
import weakref
from pathlib import Path

NAME = ".lock"
# By the file's device and number: its descriptor, the process that opened it, and how many objects hold it. A record
# lock belongs to the process, and closing any descriptor of the file would release it: there must be only one.
_held: dict[tuple[int, int], tuple[int, int, int]] = {}


class FolderInUse(RuntimeError):
    """Another process holds the lock of a folder; the message names it."""


def hold(owner: object, folder: Path) -> None:
    """Hold the lock of a folder for as long as `owner` and this process live.

    The kernel releases the lock when the process dies, however it does, and network file systems pass it on. Several
    owners in one process share it.

    Raises:
        FolderInUse: another process holds it.
        OSError: the lock file cannot be written.
    """
    path = folder / NAME
    key = _key(path)
    known = _held.get(key) if key else None
    if known and known[1] == os.getpid():
        descriptor, process, count = known
    else:
        descriptor, process, count = _lock(path, folder), os.getpid(), 0
        key = _key(path)
    assert key is not None
    _held[key] = (descriptor, process, count + 1)
    weakref.finalize(owner, _release, key, process)


def _key(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _lock(path: Path, folder: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows both
        holder = os.read(descriptor, 300).decode(errors="replace").strip() or "another process"
        os.close(descriptor)
        raise FolderInUse(f"{folder} must be used by one process, got a lock of {holder}: end it first") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return descriptor


def _release(key: tuple[int, int], process: int) -> None:
    descriptor, opened_by, count = _held.get(key, (-1, -1, 0))
    if opened_by != process or process != os.getpid():
        return
    if count > 1:
        _held[key] = (descriptor, opened_by, count - 1)
        return
    del _held[key]
    os.close(descriptor)
