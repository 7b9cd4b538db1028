"""Training on clips of which a few cannot be read: the next readable clip takes the place of each."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as MapDataset

from kdvideo._hints import represented
from kdvideo.data.clips.paired import PairedClips
from kdvideo.data.video.errors import ClipError
from kdvideo.flow import FailedFlowError


class ReadableClips(MapDataset[dict[str, Any]]):
    """Training views in which the next readable clip takes the place of one that cannot be read.

    Item (epoch, index) is that of `clips`; where the clip or its flow cannot be read it is item (epoch, index + 1) or
    the first after it that can, modulo the number of items: a function of the files and of (seed, epoch, index)
    alone, so that the number of workers and processes changes no byte. Its `clip`, `label`, `index` and `view` are
    those of the clip that it shows, as a cache of a teacher's outputs needs them.

    A clip is counted once, by all workers of a process together, with a warning that names its reason. It is tried
    again whenever its turn comes: a disk that was away for a moment changes nothing later. For tests there is nothing
    of the kind: `PairedClips` and `MultiView` raise `ClipError`.

    Args:
        clips: training views, `train=True`.
        most: the largest fraction of the clips that may be unreadable.

    Raises:
        ValueError: `clips` are not training views, or `most` is not a fraction.
        ClipError: on access, when more clips than that cannot be read; names them.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import from_folder, synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = synthetic.write_dataset(f"{folder}/clips", clips_per_class={"train": 1}, frames=5, fps=10)
        ...     (root / "train/orbit/0000.mp4").write_bytes(b"no video")
        ...     clips = PairedClips(from_folder(root / "train"), train=True, frames=4, short_side=32, crop=24)
        ...     with warnings.catch_warnings(action="ignore"):
        ...         ReadableClips(clips, most=0.2)[1]["clip"]
        8
        'pulse/0000.mp4'
    """

    def __init__(self, clips: PairedClips, *, most: float) -> None:
        if not clips.train:
            raise ValueError("clips must be training views, train=True: a test on other clips than listed is none")
        if not 0 <= most <= 1:
            raise ValueError(f"most must be a fraction of the clips, 0 to 1, got {most}")
        self.clips, self.most = clips, most
        # Shared memory, so that the workers count together.
        flags = torch.zeros(len(clips.reader), dtype=torch.bool)
        self._unreadable: Tensor = flags.share_memory_()  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        return represented(self, clips=self.clips, most=self.most)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def unreadable(self) -> Tensor:
        """Which clips could not be read so far, bool (clips,), in this process and its workers."""
        return self._unreadable.clone()

    def names(self) -> list[str]:
        """List the clips that could not be read so far.

        Returns:
            Their ids, in the order of the manifest.
        """
        return [str(clip) for clip in self.clips.reader.manifest.select(self.unreadable.nonzero().flatten())["clip"]]

    def mark(self, unreadable: Tensor) -> None:
        """Count also the clips that other processes could not read, bool (clips,); raises `ClipError` like an item.

        Args:
            unreadable: one flag for each clip of the manifest, as `unreadable` of another process is.
        """
        self._unreadable |= unreadable
        self._check("in all processes together")

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        epoch, first = index if isinstance(index, tuple) else (None, index)
        for number in range(first, first + len(self)):
            at = number % len(self) if number > first else first  # the clips themselves judge the index asked for
            try:
                return self.clips[at if epoch is None else (epoch, at)]
            except (ClipError, FailedFlowError) as error:
                self._count(at // self.clips.views, error)
        raise ClipError("all clips", "none can be read")

    def _count(self, clip: int, error: Exception) -> None:
        if self._unreadable[clip]:
            return
        self._unreadable[clip] = True
        number = int(self._unreadable.sum())
        text = f"{error}; the next clip takes its place ({number} of {len(self._unreadable)} clips are unreadable)"
        warnings.warn(text, stacklevel=3)
        self._check(str(error))

    def _check(self, reason: str) -> None:
        count, total = int(self._unreadable.sum()), len(self._unreadable)
        if count > self.most * total:
            named = ", ".join(self.names()[:10]) + (", ..." if count > 10 else "")
            raise ClipError(named, f"{count} of {total} clips cannot be read, more than {self.most:.2%} ({reason})")
