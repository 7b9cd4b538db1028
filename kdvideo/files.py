"""Atomic writes: a file appears whole or not at all.

`write_atomic` is the one atomic write of kdvideo; `temporary`, `sync` and `publish` are its parts, for data that comes
in pieces.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".writing-"


@contextmanager
def temporary(folder: Path, tag: str = "") -> Iterator[io.BufferedRandom]:
    """Open a new file in a folder, which is removed at the end unless `publish` renamed it.

    Args:
        folder: made if need be.
        tag: the name begins with `.writing-` and this, so that a file left by a crash names its writer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TEMPORARY}{tag}{uuid.uuid4().hex}"
    try:
        with open(path, "x+b") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def sync(file: io.BufferedRandom) -> None:
    """Flush a file to the disk: a full disk fails here, not later."""
    file.flush()
    os.fsync(file.fileno())


def publish(file: io.BufferedRandom, path: Path) -> None:
    """Rename a synced temporary file to `path`, atomically, and flush the rename to the disk."""
    os.replace(file.name, path)
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file atomically: beside `path`, flushed to the disk, then renamed. A crash leaves the old file, or none.

    Args:
        path: the file; its folder is made if need be, and an older file is replaced.
        data: all of its bytes.

    Raises:
        OSError: it cannot be written, for instance on a full disk; no temporary file is left.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "report.json"
        >>> write_atomic(path, b"{}")
        >>> path.read_bytes(), [file.name for file in path.parent.iterdir()]
        (b'{}', ['report.json'])
    """
    with temporary(path.parent) as file:
        file.write(data)
        sync(file)
        publish(file, path)
