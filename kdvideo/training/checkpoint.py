"""Checkpoints that survive a crash, a full disk and a flipped bit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdvideo.files import sync_path

_STATE, _MANIFEST, _PREFIX, _TEMPORARY = "state.pt", "manifest.json", "step_", ".writing_"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or none can be read; names the folder and the reason."""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Checkpoints:
    """Numbered checkpoints in one folder: written atomically, verified when read, rotated after the write.

    A checkpoint is a folder `step_<n>` that appears by one rename once its files are on disk; its manifest
    holds the SHA-256 of the state. Only finished checkpoints count for `keep` and for `load`, so a process killed
    at any instant leaves the previous checkpoint as it was.

    Args:
        folder: where the checkpoints are; made at the first save.
        keep: how many finished checkpoints stay, at least 1.

    Raises:
        ValueError: `keep` is below 1.

    Examples:
        >>> import tempfile
        >>> checkpoints = Checkpoints(tempfile.mkdtemp(), keep=2)
        >>> for step in (10, 20, 30):
        ...     path = checkpoints.save(step, {"weight": torch.full((2,), float(step))})
        >>> checkpoints.steps()
        [20, 30]
        >>> step, state = checkpoints.load()
        >>> step, state["weight"]
        (30, tensor([30., 30.]))
    """

    def __init__(self, folder: str | os.PathLike[str], *, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.folder, self.keep = Path(folder), keep

    def _path(self, step: int) -> Path:
        return self.folder / f"{_PREFIX}{step:09d}"

    def steps(self) -> list[int]:
        """Return the steps of all finished checkpoints, ascending; `load` verifies their contents."""
        found = self.folder.glob(f"{_PREFIX}*/{_MANIFEST}") if self.folder.is_dir() else []
        return sorted(int(path.parent.name.removeprefix(_PREFIX)) for path in found)

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write the checkpoint of a step, then remove those beyond `keep`.

        Args:
            step: its number, at least 0; a checkpoint of the same step is replaced.
            state: tensors, numbers, strings and containers of them.

        Returns:
            The folder of the checkpoint.

        Raises:
            CheckpointError: it cannot be written; earlier checkpoints are untouched and no temporary file is left.
        """
        temporary = self.folder / f"{_TEMPORARY}{step}_{os.getpid()}"
        try:
            temporary.mkdir(parents=True, exist_ok=True)
            self._write(temporary, step, state)
            shutil.rmtree(self._path(step), ignore_errors=True)
            temporary.rename(self._path(step))
            sync_path(self.folder)
        except (OSError, RuntimeError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(f"cannot write the checkpoint of step {step} in {self.folder}: {error}") from error
        self._rotate()
        return self._path(step)

    def _write(self, folder: Path, step: int, state: Mapping[str, Any]) -> None:
        torch.save(dict(state), folder / _STATE)
        sync_path(folder / _STATE)
        manifest = {"step": step, "sha256": {_STATE: _sha256(folder / _STATE)}}
        (folder / _MANIFEST).write_text(json.dumps(manifest))
        sync_path(folder / _MANIFEST)
        sync_path(folder)

    def _rotate(self) -> None:
        for step in self.steps()[: -self.keep]:
            shutil.rmtree(self._path(step), ignore_errors=True)
        for leftover in self.folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _valid(self, step: int) -> bool:
        try:
            manifest = json.loads((self._path(step) / _MANIFEST).read_text())
            return all(_sha256(self._path(step) / name) == digest for name, digest in manifest["sha256"].items())
        except (OSError, ValueError, KeyError, AttributeError):
            return False

    def load(self, *, map_location: str | torch.device = "cpu") -> tuple[int, dict[str, Any]] | None:
        """Read the newest valid checkpoint.

        A damaged checkpoint is skipped with a warning. No code in the file is run (`weights_only=True`).

        Args:
            map_location: the device of the tensors.

        Returns:
            (step, state), or None where there is no checkpoint.

        Raises:
            CheckpointError: there are checkpoints, but every one is damaged.
        """
        steps = self.steps()
        for step in reversed(steps):
            if self._valid(step):
                state = torch.load(self._path(step) / _STATE, map_location=map_location, weights_only=True)
                return step, state
            warnings.warn(f"{self._path(step)} is damaged; trying the one before", stacklevel=2)
        if steps:
            raise CheckpointError(f"all {len(steps)} checkpoints in {self.folder} are damaged; move them away")
        return None
