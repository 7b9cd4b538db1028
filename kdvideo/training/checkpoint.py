"""Checkpoints that survive a crash, a full disk and a flipped bit."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from kdvideo.training import checkpoint_folders as folders
from kdvideo.training.checkpoint_folders import CheckpointError
from kdvideo.training.state_values import not_finite, readable

STATE = "state.pt"


class Checkpoints:
    """Numbered checkpoints in one folder: written atomically, verified when read, rotated after the write.

    A checkpoint is a folder `step_<n>` that appears by one rename once its files are on disk and were read back; its
    manifest holds their SHA-256. Only valid checkpoints count for `keep` and for `load`, so a process killed at any
    instant leaves the previous checkpoint as it was. The latest is the one that was written last, whatever its step:
    a run that went back to step 10 continues from what it saved since, not from the future that it left.

    Args:
        folder: where the checkpoints are; made at the first save, from which on other processes cannot save there.
        keep: how many valid checkpoints stay, at least 1.

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
        self._known: dict[Path, tuple[int, int]] = {}
        self._held = False

    def steps(self) -> list[int]:
        """List the finished checkpoints in the order of writing; `load` verifies their contents.

        Returns:
            Their steps.
        """
        return [one.step for one in folders.found_in(self.folder)]

    def save(self, step: int, state: Mapping[str, Any], *, finite: bool = True) -> Path:
        """Write the checkpoint of a step, then remove those beyond `keep`.

        Args:
            step: its number, at least 0; a checkpoint of the same step is replaced.
            state: tensors, numbers, text and containers of them. What comes back is plain: NumPy's numbers as
                Python's, its arrays as tensors, paths and dates as text.
            finite: refuse tensors that hold NaN or +inf: from such weights no restart recovers. Tensors of no
                dimension and Python's floats, such as a best loss so far, may be anything.

        Returns:
            The folder of the checkpoint.

        Raises:
            ValueError: `step` is not an integer from 0 on, or a value could not be read back; the message names where
                it is.
            CheckpointError: a tensor is not finite, another process holds the folder, or the files cannot be written;
                earlier checkpoints are untouched and no temporary file is left.
        """
        folders.check_step(step)
        plain = readable(dict(state))
        bad = list(not_finite(plain)) if finite else []
        if bad:
            some = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
            raise CheckpointError(f"the checkpoint of step {step} must be finite, got NaN or inf in {some}")
        if not self._held:
            folders.hold(self, self.folder)
            self._held = True
        try:
            path = folders.commit(self.folder, step, lambda temporary: _write(temporary / STATE, plain))
        except (OSError, RuntimeError) as error:
            raise CheckpointError(f"cannot write the checkpoint of step {step} in {self.folder}: {error}") from error
        folders.rotate(self.folder, self.keep, self._known)
        return path

    def load(self, *, map_location: str | torch.device = "cpu") -> tuple[int, dict[str, Any]] | None:
        """Read the latest valid checkpoint.

        A damaged checkpoint is skipped with a warning. No code in the file is run (`weights_only=True`).

        Args:
            map_location: the device of the tensors.

        Returns:
            (step, state), or None where there is no checkpoint.

        Raises:
            CheckpointError: there are checkpoints, but every one is damaged.
        """
        found = folders.found_in(self.folder)
        for one in reversed(found):
            try:
                if folders.is_valid(one):
                    return one.step, torch.load(one.path / STATE, map_location=map_location, weights_only=True)
                reason = "its files are not those of its manifest"
            except (MemoryError, torch.OutOfMemoryError):  # no fault of the file
                raise
            except Exception as error:  # a pickle that is not ours raises anything
                reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
            warnings.warn(f"{one.path} is damaged ({reason}); trying the one before", stacklevel=2)
        if found:
            raise CheckpointError(f"all {len(found)} checkpoints in {self.folder} are damaged; move them away")
        return None


class _Recorder(io.RawIOBase):
    """A file that remembers why it could not be written, of which PyTorch's archive says nothing."""

    def __init__(self, file: io.RawIOBase) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int | None:
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise


def _write(path: Path, state: Mapping[str, Any]) -> None:
    with open(path, "xb", buffering=0) as file:
        recorder = _Recorder(file)
        try:
            torch.save(state, recorder)  # type: ignore[arg-type]
        except RuntimeError as error:
            raise recorder.error or error from error
    torch.load(path, map_location="meta", weights_only=True)  # that it can be read, before an older one is removed
