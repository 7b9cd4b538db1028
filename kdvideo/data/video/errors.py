"""The error of a video file that cannot be read."""

from __future__ import annotations

import os

from kdvideo._escaping import printable


class ClipError(Exception):
    """The error of a video file that cannot give the frames asked of it; names the file and the reason.

    A DataLoader builds the exception anew from one text when it carries it out of a worker; the class and
    the message survive that, and `path` is then empty.

    Args:
        path: the file, as the caller named it.
        reason: what is wrong, in words.

    Examples:
        >>> str(ClipError("clips/a.mp4", "the file is empty"))
        'clips/a.mp4: the file is empty'
    """

    def __init__(self, path: str | os.PathLike[str], reason: str = "") -> None:
        super().__init__(path, reason)
        self.path = os.fspath(path) if reason else ""
        self.reason = reason or os.fspath(path)

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}" if self.path else self.reason)
