"""Jobs: what makes one file of one clip, and the outcome of each clip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch

from kdvideo.data import ClipError
from kdvideo.files import TEMPORARY, remove_abandoned

ClipRow = Mapping[str, Any]

FRAME_BYTES = 256 * 2**20  # of the frames held at once: some 40 s at 25 fps and 256 x 340 pixels

# Errors that stop the whole job: the next clip would meet them too.
JOB_ERRORS = (OSError, torch.OutOfMemoryError, torch.AcceleratorError)


class ExtractionError(RuntimeError):
    """Signal that an extraction cannot continue; the clips that are done stay, and the same call continues."""


class Outcome(NamedTuple):
    """Status of a clip; `amount` made; `new` where this job made it."""

    status: Literal["done", "failed"]
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

    def run(self, row: ClipRow) -> Outcome:
        """Make the file of a clip, unless another process has done so."""
        known = self.known_outcome(row)
        if known is not None:
            return known
        try:
            return Outcome("done", self.make(row), new=True)
        except (ClipError, ValueError) as error:
            return self.record_failure(row, error.reason if isinstance(error, ClipError) else str(error))

    def record_failure(self, row: ClipRow, reason: str) -> Outcome:
        """Record the failure of a clip, unless another process has come to an end with it."""
        self.remove_temporary(row)
        known = self.known_outcome(row)
        if known is not None:
            return known
        self.fail(row, reason)
        return Outcome("failed", reason=reason, new=True)

    def remove_temporary(self, row: ClipRow) -> None:
        """Remove what dead writers left where the file of a clip goes."""
        remove_abandoned(self.file(row).parent.glob(TEMPORARY + "*"))

    def stop_message(self, error: BaseException) -> str:
        """Return the message of an error that stops the job."""
        if isinstance(error, OSError):
            return f"{self.folder} cannot be written: {error.strerror or error}"
        if isinstance(error, torch.OutOfMemoryError):
            return f"{self.device} is out of memory: use fewer workers or smaller frames"
        return str(error) if isinstance(error, ValueError | ExtractionError) else f"{type(error).__name__}: {error}"
