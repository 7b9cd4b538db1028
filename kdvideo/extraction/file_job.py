"""Jobs that make one file of a clip in a folder, and leave the reason beside its place where they cannot."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kdvideo.data import ClipError
from kdvideo.extraction.job import ClipRow, Job, Outcome
from kdvideo.files import write_atomic
from kdvideo.flow.store.origins import origin_of, what_changed

FAILED = ".failed.json"
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
        if max(len(os.fsencode(part)) for part in (*inside.parent.parts, name + FAILED)) > LONGEST_NAME:
            raise ClipError(row["path"], f"its name is too long: with {FAILED!r} it has more than {LONGEST_NAME} bytes")
        return self.top / inside.parent / name

    def fail(self, row: ClipRow, reason: str) -> None:
        """Record the reason beside the place of the file."""
        path = self.file(row)
        path.unlink(missing_ok=True)
        write_atomic(mark_of(path), json.dumps({"reason": reason, "origin": origin_of(row["path"])}).encode())

    def known_outcome(self, row: ClipRow) -> Outcome | None:
        """Return whether the file is there, or why it cannot be made; None where nothing is known."""
        try:
            path = self.file(row)
        except ClipError as error:  # its name is too long
            return Outcome("failed", reason=error.reason)
        try:
            if size := path.stat().st_size:
                return Outcome("done", size / 1e6)
        except OSError:
            pass
        try:
            mark = json.loads(mark_of(path).read_bytes())
            reason, changed = str(mark["reason"]), what_changed(mark.get("origin"), row["path"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return None if self.retry_failed or changed else Outcome("failed", reason=reason)


def mark_of(path: Path) -> Path:
    """Return the file that says why there is none at `path`."""
    return path.with_name(path.name + FAILED)
