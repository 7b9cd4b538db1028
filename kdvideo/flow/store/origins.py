"""The video file that flow was made of: what is recorded of it, and whether it is still the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

Origin = dict[str, Any]


def origin_of(path: str | os.PathLike[str]) -> Origin:
    """Return path, size, modification time and SHA-256 of a file; of one that cannot be read the path alone."""
    name = os.fspath(path)
    try:
        status = os.stat(name)
        return _seen(name, status) | {"sha256": _sha256(name, status.st_size, status.st_mtime_ns)}
    except (OSError, ValueError):
        return {"path": name}


def what_changed(origin: Mapping[str, Any] | None, path: str | os.PathLike[str], *, deep: bool = False) -> str:
    """Return how a file differs from the one recorded, as the end of a sentence; nothing for the same file.

    Equal sizes and times are taken for the same file, unless `deep`; of equal size but another time the contents
    decide: copying a data set changes the times. A file that is gone is no other one, unless `deep`.

    Args:
        origin: see `origin_of`; None, where nothing was recorded, is never different.
        path: the file now.
        deep: compare the contents in any case.
    """
    if origin is None:
        return ""
    name = os.fspath(path)
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return "it is gone" if deep and "bytes" in origin else ""
    now = _seen(name, status)
    if "bytes" not in origin:
        return f"there was none, and now it has {now['bytes']} bytes"
    if now["bytes"] != origin["bytes"]:
        return f"it had {origin['bytes']} bytes and has {now['bytes']}"
    if not deep and now["mtime_ns"] == origin["mtime_ns"]:
        return ""
    if _sha256(name, status.st_size, status.st_mtime_ns) != origin["sha256"]:
        return f"its {now['bytes']} bytes are others than before"
    return ""


def _seen(path: str, status: os.stat_result) -> Origin:
    return {"path": path, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


@lru_cache(maxsize=256)  # many clips may be parts of one file
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # of the key
    if os.path.isdir(path):  # of frames
        files = sorted((entry.name, entry.stat().st_size) for entry in os.scandir(path))
        return hashlib.sha256(repr(files).encode(errors="surrogateescape")).hexdigest()
    if not os.path.isfile(path):  # a pipe would be waited for
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
