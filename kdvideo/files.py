"""Atomic writes: a file appears whole or not at all; and guarded reads, of plain files and of lines that end.

`write_atomic` is the one atomic write of kdvideo; `temporary`, `sync` and `publish` are its parts, for data that comes
in pieces.
"""

from __future__ import annotations

import difflib
import io
import itertools
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

with suppress(ImportError):  # there is none on Windows
    import fcntl

TEMPORARY = ".writing-"
LONGEST_LINE = 2**20  # characters
LARGEST_TEXT = 2**26  # bytes of a file that is read at once
MOST_COMPARED = 10_000  # ids with one that is missing: a second at most


@contextmanager
def temporary(folder: Path) -> Iterator[io.BufferedRandom]:
    """Open a new file in a folder (made if need be), which is removed at the end unless `publish` renamed it.

    It is locked for as long as its writer lives: `remove_abandoned` can tell what a crash has left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        with _open_locked(path) as file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def _open_locked(path: Path) -> io.BufferedRandom:
    while True:
        file = open(path, "x+b")  # noqa: SIM115 (the caller closes it)
        _lock(file.fileno(), wait=True)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # taken for abandoned before it was locked


def _lock(file: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed; False if it is locked already, or no file can be locked here."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, NameError):
        return False
    return True


def remove_abandoned(paths: Iterable[Path]) -> None:
    """Remove those temporary files whose writers, on any machine, no longer live."""
    for path in paths:
        with suppress(FileNotFoundError, PermissionError), open(path, "r+b") as file:
            if _lock(file.fileno(), wait=False):
                path.unlink()


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


def check_regular(path: Path) -> None:
    """Raise an error unless a path, or what it links to, is a plain file: a pipe or a device may never end.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is a folder, a pipe, a socket or a device.

    Examples:
        >>> check_regular(Path("/dev/null"))
        Traceback (most recent call last):
        ValueError: /dev/null: must be a plain file, got a device
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path}: no such file") from None
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise ValueError(f"{path}: must be a plain file, got {kinds.get(stat.S_IFMT(mode), 'a device')}")


def lines(file: TextIO, limit: int = LONGEST_LINE) -> Iterator[str]:
    r"""Yield the lines of a text file, with their ends.

    Raises:
        ValueError: a line has more than `limit` characters.

    Examples:
        >>> list(lines(io.StringIO("a,b\nc")))
        ['a,b\n', 'c']
    """
    number = 1
    while line := file.readline(limit + 1):
        if len(line) > limit:
            raise ValueError(f"line {number} has more than {limit:,} characters")
        yield line
        number += 1


def read_limited(path: Path, limit: int = LARGEST_TEXT) -> bytes:
    """Read a plain file of at most `limit` bytes.

    Raises:
        OSError: it cannot be read, or is not there.
        ValueError: it is larger, or no plain file.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.txt"
        >>> write_atomic(path, b"run")
        >>> read_limited(path, limit=1000)
        b'run'
    """
    check_regular(path)
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path}: must have at most {limit:,} bytes, got more")
    return data


def closest_ids(folder: Path, wanted: str, suffix: str) -> str:
    """Say which files `<id><suffix>` below a folder have the ids closest to one that has none, for an error.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomic(folder / "run/1.npy", b"")
        >>> closest_ids(folder, "run/1.mp4", ".npy").removeprefix(str(folder))
        ": the closest ids there are ['run/1']"
    """
    files = itertools.islice(folder.rglob("*" + suffix), MOST_COMPARED)
    ids = [file.relative_to(folder).as_posix().removesuffix(suffix) for file in files]
    close = difflib.get_close_matches(wanted, ids, cutoff=0.3) or ids[:3]
    return f"{folder}: the closest ids there are {close}" if close else f"{folder}: no file *{suffix} is there"
