"""Writing files whole or not at all."""

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
    """A new file in `folder`, made if need be; it is gone at the end unless `publish` renamed it.

    The name begins with `.writing-` and `tag`: whoever finds it after a crash can tell whose it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TEMPORARY}{tag}{uuid.uuid4().hex}"
    try:
        with open(path, "x+b") as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def sync(file: io.BufferedRandom) -> None:
    """Bring the file to the disk: what can fail, fails here."""
    file.flush()
    os.fsync(file.fileno())


def publish(file: io.BufferedRandom, path: Path) -> None:
    """Give a synced temporary file its name, at one stroke and lastingly."""
    os.replace(file.name, path)
    sync_path(path.parent)


def sync_path(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside `path`, flush to the disk, then rename: a crash leaves the old file, or none."""
    with temporary(path.parent) as file:
        file.write(data)
        sync(file)
        publish(file, path)
