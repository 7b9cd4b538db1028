"""Checkpoints of networks that are sharded over processes (FSDP2), with the guarantees of whole ones."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from torch import distributed
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from kdvideo.training import checkpoint_folders as folders
from kdvideo.training.checkpoint_folders import CheckpointError
from kdvideo.training.state_values import not_finite

T = TypeVar("T")


class ShardedCheckpoints:
    """Numbered checkpoints to which every process writes its own shards, by `torch.distributed.checkpoint`.

    A checkpoint appears by one rename, in the first process, once all have written; where one fails nothing appears
    and all get the error. It can be read by another number of processes. All methods are called by all of them.

    Unlike `Checkpoints`, whose files are safe to read from anyone, PyTorch reads these with pickle: load your own only.

    Args:
        folder: where the checkpoints are, which all processes must see.
        keep: how many valid checkpoints stay, at least 1.
        group: of the processes, with a backend for the processor such as gloo (default: all).

    Raises:
        ValueError: `keep` is below 1.

    Examples:
        In every process, here in the only one:

        >>> import tempfile
        >>> from torch import nn
        >>> from torch.distributed.checkpoint.state_dict import get_model_state_dict
        >>> folder, network = tempfile.mkdtemp(), nn.Linear(2, 3)
        >>> distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        >>> checkpoints = ShardedCheckpoints(f"{folder}/checkpoints")
        >>> checkpoints.save(10, {"model": get_model_state_dict(network)})
        >>> state = {"model": get_model_state_dict(network)}  # whose shards are filled
        >>> checkpoints.load(state)
        10
        >>> distributed.destroy_process_group()
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, keep: int = 2, group: distributed.ProcessGroup | None = None
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.folder, self.keep, self.group = Path(folder), keep, group
        self._known: dict[Path, tuple[int, int]] = {}
        self._held = False
        self._pending: tuple[int, Path, Future[Any]] | None = None

    def save(self, step: int, state: dict[str, Any], *, wait: bool = True) -> None:
        """Write the checkpoint of a step, then remove those beyond `keep`.

        Args:
            step: its number, at least 0.
            state: this process's part: DTensors, tensors, numbers, and dictionaries of them.
            wait: False returns once the tensors are copied; they are written meanwhile, and the checkpoint appears at
                the next call of `save` or `finish`.

        Raises:
            ValueError: `step` is not an integer from 0 on.
            CheckpointError: in every process, where one could not write or holds a tensor that is not finite.
        """
        folders.check_step(step)
        self.finish()
        temporary = Path(self._first(lambda: str(self._open(step))))
        bad = [name for names in self._all(list(not_finite(state))) for name in names]
        if bad:
            self._first(lambda: shutil.rmtree(temporary, ignore_errors=True))
            raise CheckpointError(f"the checkpoint of step {step} must be finite, got NaN or inf in {bad[0]}")
        try:
            writing = async_save(state, checkpoint_id=temporary, process_group=self.group)
        except Exception as error:  # it raises in all processes what one of them met
            self._first(lambda: shutil.rmtree(temporary, ignore_errors=True))
            raise CheckpointError(f"cannot write the checkpoint of step {step} in {self.folder}: {error}") from error
        assert isinstance(writing, Future)
        self._pending = step, temporary, writing
        if wait:
            self.finish()

    def finish(self) -> None:
        """Wait for a checkpoint that is still being written, and let it appear.

        Raises:
            CheckpointError: it could not be written.
        """
        if self._pending is None:
            return
        (step, temporary, writing), self._pending = self._pending, None
        error = writing.exception()
        failed = [one for one in self._all(str(error) if error else "") if one]
        if failed:
            self._first(lambda: shutil.rmtree(temporary, ignore_errors=True))
            raise CheckpointError(f"cannot write the checkpoint of step {step} in {self.folder}: {failed[0]}")
        self._first(lambda: self._commit(step, temporary))

    def load(self, state: dict[str, Any]) -> int | None:
        """Read the latest valid checkpoint into a state of this process, in place.

        Args:
            state: this process's part, as in `save`.

        Returns:
            Its step, or None where there is no checkpoint.

        Raises:
            CheckpointError: there are checkpoints but every one is damaged, or the latest valid one lacks what
                `state` holds.
        """
        found = self._first(self._latest)
        if found is None:
            return None
        try:
            load(state, checkpoint_id=found[1], process_group=self.group)
        except Exception as error:
            raise CheckpointError(f"cannot read {found[1]}: {error}") from error
        return int(found[0])

    def _open(self, step: int) -> Path:
        if not self._held:
            folders.hold(self, self.folder)
            self._held = True
        temporary = self.folder / f"{folders.TEMPORARY}{step}_{uuid.uuid4().hex}"
        temporary.mkdir()
        return temporary

    def _commit(self, step: int, temporary: Path) -> None:
        folders.finish(self.folder, step, temporary)
        folders.rotate(self.folder, self.keep, self._known)

    def _latest(self) -> tuple[int, str] | None:
        found = folders.found_in(self.folder)
        for one in reversed(found):
            if folders.is_valid(one):
                return one.step, str(one.path)
        if found:
            raise CheckpointError(f"all {len(found)} checkpoints in {self.folder} are damaged; move them away")
        return None

    def _first(self, make: Callable[[], T]) -> T:
        """Call a function in the first process; return its value, or raise its error, in all."""
        box: list[Any] = [None, None]
        if distributed.get_rank(self.group) == 0:
            try:
                box[0] = make()
            except (CheckpointError, OSError) as error:
                box[1] = str(error)
        distributed.broadcast_object_list(box, group_src=0, group=self.group)
        if box[1] is not None:
            raise CheckpointError(box[1])
        value: T = box[0]
        return value

    def _all(self, value: T) -> list[T]:
        found: list[Any] = [None] * distributed.get_world_size(self.group)
        distributed.all_gather_object(found, value, group=self.group)
        return found
