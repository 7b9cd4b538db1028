"""Jobs: what makes one file of one clip, and the outcome of each clip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from kdvideo.data import ClipError
from kdvideo.extraction.locks import Locks
from kdvideo.files import TEMPORARY
from kdvideo.flow.store.sidecars import tag

ClipRow = Mapping[str, Any]


class Outcome(NamedTuple):
    """Status of a clip: `"busy"` where another process works on it; `amount` made; `new` where this job made it."""

    status: Literal["done", "failed", "busy"]
    amount: float = 0
    reason: str = ""
    new: bool = False


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """A function from a clip to a file, its settings, and the record of what is done.

    Attributes:
        noun: what the folder holds, in messages.
        unit: of the amount of a clip.
        settings_file: where the settings are recorded in the folder.
    """

    noun: ClassVar[str]
    unit: ClassVar[str]
    settings_file: ClassVar[str]
    retry_failed: bool = False
    device: str = "cpu"

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where the files go."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the bytes of the files; a folder holds files of one setting."""

    @abstractmethod
    def file(self, row: ClipRow) -> Path:
        """Return the file of a clip; ValueError for an id that cannot be a file name."""

    @abstractmethod
    def make(self, row: ClipRow) -> float:
        """Write the file of a clip, whole or not at all, and return the amount.

        Raises:
            ClipError: the clip is at fault; so it is with ValueError. Any other error stops the whole job.
        """

    @abstractmethod
    def fail(self, row: ClipRow, reason: str) -> None:
        """Record that the file of a clip cannot be made; replaces what was there."""

    @abstractmethod
    def known_outcome(self, row: ClipRow) -> Outcome | None:
        """Return the outcome of a clip that needs no work, or None.

        Raises:
            ValueError: its file was made with other settings.
        """

    def warm_up(self) -> None:  # noqa: B027
        """Try out what could fail at every clip, so that it is not blamed on the clips; ValueError says why."""

    def run(self, row: ClipRow, locks: Locks) -> Outcome:
        """Make the file of a clip, unless another process does so or has done so."""
        with locks.try_lock(tag(row["clip"])) as acquired:
            if not acquired:
                return Outcome("busy")
            known = self.known_outcome(row)
            if known is not None:
                return known
            try:
                return Outcome("done", self.make(row), new=True)
            except (ClipError, ValueError) as error:
                reason = error.reason if isinstance(error, ClipError) else str(error)
                self.fail(row, reason)
                return Outcome("failed", reason=reason, new=True)

    def record_failure(self, row: ClipRow, reason: str, locks: Locks) -> Outcome:
        """Record the failure of a clip whose worker died."""
        with locks.try_lock(tag(row["clip"])) as acquired:
            if not acquired:
                return Outcome("busy")
            self.remove_temporary(row)
            known = self.known_outcome(row)
            if known is not None:
                return known
            self.fail(row, reason)
            return Outcome("failed", reason=reason, new=True)

    def remove_temporary(self, row: ClipRow) -> None:
        """Remove the temporary files of a clip, whose lock must be held."""
        for path in self.file(row).parent.glob(f"{TEMPORARY}{tag(row['clip'])}*"):
            path.unlink(missing_ok=True)
