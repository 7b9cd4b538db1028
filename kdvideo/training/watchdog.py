"""What ends a process that no longer gets anywhere, or whose parent is gone."""

from __future__ import annotations

import faulthandler
import sys
from types import TracebackType
from typing import IO, ClassVar

from kdvideo._processes import die_with_parent

__all__ = ["Watchdog", "die_with_parent"]


class Watchdog:
    """A context in which the process ends unless it is fed every so often: no step of a training takes that long.

    Before the end the stack of every thread is written. It works while native code holds the interpreter's lock, as a
    decoder or a collective that never returns does. The process ends with status 1, as does a launcher's whole job.
    Within another one it watches alone, and the time of the outer one begins anew when it is left.

    Args:
        seconds: the longest time from one `feed` to the next; 0 watches nothing.
        file: an open file, with a descriptor, that gets the stacks (default: standard error).

    Raises:
        ValueError: `seconds` is negative.

    Examples:
        >>> with Watchdog(300, sys.__stderr__) as dog:
        ...     for step in range(3):
        ...         dog.feed()
    """

    _within: ClassVar[list[Watchdog]] = []

    def __init__(self, seconds: float, file: IO[str] | None = None) -> None:
        if seconds < 0:
            raise ValueError(f"seconds must be positive, or 0 to watch nothing, got {seconds}")
        self.seconds, self.file = seconds, file

    def feed(self) -> None:
        """Begin the time anew."""
        if self.seconds:
            faulthandler.dump_traceback_later(self.seconds, exit=True, file=self.file or sys.stderr)

    def __enter__(self) -> Watchdog:
        self._within.append(self)
        self.feed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._within.remove(self)
        if self.seconds:
            faulthandler.cancel_dump_traceback_later()  # a process has one timer
            if self._within:
                self._within[-1].feed()
