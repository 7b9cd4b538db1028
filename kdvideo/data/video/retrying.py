"""A second and third try where a disk, and not the file, was at fault."""

from __future__ import annotations

import errno
import functools
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from kdvideo.data.video.errors import ClipError

# What network file systems say while a server restarts. A file that is not there (ENOENT) never comes by waiting.
TRANSIENT = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT}
PAUSES = (0.1, 0.4, 1.6)  # seconds

P = ParamSpec("P")
R = TypeVar("R")


def retried(read: Callable[P, R]) -> Callable[P, R]:
    """Make a function try again, after a pause, when it raises a transient error, or one of ours that it caused."""

    @functools.wraps(read)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        for pause in PAUSES:
            try:
                return read(*args, **kwargs)
            except (ClipError, OSError, ValueError) as error:
                if not {getattr(one, "errno", None) for one in (error, error.__cause__)} & TRANSIENT:
                    raise
            time.sleep(pause)
        return read(*args, **kwargs)

    return wrapped
