"""The video file that flow was made of: what is recorded of it, and whether it is still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

Origin = dict[str, Any]


def origin_of(path: str | os.PathLike[str]) -> Origin:
    """Return place, size, modification time and SHA-256 of a file or a folder of frames; else the place alone.

    The place is a hash of the path: a folder of flow may be given to others, and tells nothing of the machine.
    """
    name = os.fspath(path)
    try:
        size, changed = _status(name)
        seen = {"place": place_of(name), "bytes": size, "mtime_ns": changed}
        return seen | {"sha256": _sha256(name, size, changed)}
    except (OSError, ValueError):
        return {"place": place_of(name)}


def place_of(path: str | os.PathLike[str]) -> str:
    """Return 16 hexadecimal digits that stand for the path of a file."""
    return hashlib.sha256(os.path.abspath(os.fspath(path)).encode(errors="surrogateescape")).hexdigest()[:16]


def what_changed(origin: Mapping[str, Any] | None, path: str | os.PathLike[str], *, deep: bool = False) -> str:
    """Return how a file differs from the one recorded, as the end of a sentence; nothing for the same file.

    Equal sizes and times are taken for the same file, unless `deep`; of equal size but another time the contents
    decide: copying a data set changes the times. A file that is gone is no other one, unless `deep`.

    Args:
        origin: see `origin_of`; None, where nothing was recorded, is never different.
        path: the file now.
        deep: compare the contents in any case.
    """
    if not isinstance(origin, Mapping):
        return ""
    name = os.fspath(path)
    try:
        size, changed = _status(name)
    except (OSError, ValueError):
        return "it is gone" if deep and "bytes" in origin else ""
    if "bytes" not in origin:
        return f"there was none, and now it has {size} bytes"
    if size != origin["bytes"]:
        return f"it had {origin['bytes']} bytes and has {size}"
    if not deep and changed == origin.get("mtime_ns"):
        return ""
    if _sha256(name, size, changed) != origin.get("sha256"):
        return f"its {size} bytes are others than before"
    return ""


def _status(path: str) -> tuple[int, int]:
    """Return bytes and modification time; a frame that is written anew leaves those of its folder as they were."""
    found = [one.stat() for one in _frames(path)] if os.path.isdir(path) else [os.stat(path)]
    return sum(one.st_size for one in found), max((one.st_mtime_ns for one in found), default=0)


def _frames(folder: str) -> list[Path]:
    return [Path(one) for one in sorted(os.scandir(folder), key=lambda one: one.name) if one.is_file()]


@lru_cache(maxsize=256)  # many clips may be parts of one file
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # of the key
    if os.path.isdir(path):
        files = [(one.name, hashlib.sha256(one.read_bytes()).digest()) for one in _frames(path)]
        return hashlib.sha256(repr(files).encode(errors="surrogateescape")).hexdigest()
    if not os.path.isfile(path):  # a pipe would be waited for
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
