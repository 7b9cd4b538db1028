"""Jobs that make one file of a clip in a folder, and leave the reason beside its place where they cannot."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from kdvideo._escaping import printable
from kdvideo.data import ClipError
from kdvideo.extraction.job import ClipRow, Job, Outcome
from kdvideo.files import publish, sync, temporary, write_atomic
from kdvideo.flow.store.origins import origin_of, what_changed

FAILED = ".failed.json"
ORIGIN = ".origin.json"  # of a hidden file, so that a folder of videos lists as one
LONGEST_NAME = 255  # bytes of a part of a path


@dataclass(frozen=True, kw_only=True)
class FileJob(Job):
    """One file of each clip, in a folder."""

    top: Path

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return self.top

    def place(self, row: ClipRow, clip: str, ending: str) -> Path:
        """Return the path of a clip's file: its id, with another ending.

        Raises:
            ValueError: the id leads out of the folder.
            ClipError: the name is too long for a file and its mark.
        """
        inside = PurePosixPath(clip)
        if inside.is_absolute() or not inside.name or ".." in inside.parts:
            raise ValueError(f"the id of a clip must be a relative path, got {row['clip']!r}")
        name = inside.stem + ending
        if max(len(os.fsencode(part)) for part in (*inside.parent.parts, f".{name}{ORIGIN}")) > LONGEST_NAME:
            raise ClipError(row["path"], f"its name is too long: with {ORIGIN!r} it has more than {LONGEST_NAME} bytes")
        return self.top / inside.parent / name

    @contextmanager
    def writing(self, row: ClipRow) -> Iterator[IO[bytes]]:
        """Publish what is written as the file of a clip, once it is whole, with a record of the video it is made of."""
        path, origin = self.file(row), origin_of(row["path"])
        with temporary(path.parent) as file:
            yield file
            sync(file)
            _mark_of(path).unlink(missing_ok=True)
            write_atomic(_record_of(path), json.dumps(origin).encode())  # first: a file without one is never made anew
            publish(file, path)

    def fail(self, row: ClipRow, reason: str) -> None:
        """Record the reason beside the place of the file."""
        path = self.file(row)
        path.unlink(missing_ok=True)
        write_atomic(_mark_of(path), json.dumps({"reason": reason, "origin": origin_of(row["path"])}).encode())

    def known_outcome(self, row: ClipRow) -> Outcome | None:
        """Return whether the file is there, or why it cannot be made; None where nothing is known."""
        try:
            path = self.file(row)
        except ClipError as error:  # its name is too long
            return Outcome("failed", reason=error.reason)
        if path.is_file() and (size := path.stat().st_size):
            if not (changed := what_changed(_read(_record_of(path)), row["path"])):
                return Outcome("done", size / 1e6)
            text = f"{printable(row['path'])} is another file than before ({changed}): its {self.noun} are made anew"
            warnings.warn(text, stacklevel=2)
            path.unlink(missing_ok=True)
        mark = _read(_mark_of(path))
        if mark is None or self.retry_failed or what_changed(mark.get("origin"), row["path"]):
            return None
        return Outcome("failed", reason=str(mark.get("reason")))


def _mark_of(path: Path) -> Path:
    """Return the file that says why there is none at `path`."""
    return path.with_name(path.name + FAILED)


def _record_of(path: Path) -> Path:
    return path.with_name(f".{path.name}{ORIGIN}")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
