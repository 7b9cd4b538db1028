"""RGB and flow of the same moment of the same clip, cut and mirrored alike.

Legend: L grid frames of a clip, T frames of a window, K distinct views.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as MapDataset

from kdvideo._hints import represented
from kdvideo._numbers import check_count
from kdvideo.data.clips.reader import ClipReader
from kdvideo.data.clips.sampling import VIEW_VERSION, Window, even_view, random_view
from kdvideo.data.clips.streams import Stream
from kdvideo.data.video.frame_grid import ClipInfo
from kdvideo.flow import FlowSource

if TYPE_CHECKING:
    from datasets import Dataset


class PairedClips(MapDataset[dict[str, Any]]):
    """Views of the clips of a manifest: a window of frames and its flow, of the same crop and mirroring.

    The clip is sampled at `fps` and resized to `short_side`. A window is T = `frames` of its L frames; a clip
    shorter than that starts over. The flow at a position leads from its frame to the clip's next one; the last
    frame of the clip takes the flow before it. An item is a dict of

    - `rgb`: float (3, T, crop, crop), in `input_range`;
    - `flow`: float (2, T, crop, crop), u first, truncated to ±`flow_bound` pixels and divided by it: [-1, 1]; with
      `dtype=torch.uint8` both are bytes, of which `to_float` makes these values on a device;
    - `length`: with `rgb`, how many different frames the window shows, min(L, T); what `flow.OnlineFlow` needs;
    - `clip`: its id; `label`, `index` (the row of the manifest), `view`: int. Clip and view say which item it is.

    In training, window, crop and mirroring are drawn at random, as a function of (seed, epoch, index) alone: the
    number of workers changes no byte. The epoch is the one of `set_epoch`, or part of the index, as in
    `dataset[epoch, index]`; with K = `distinct_views` it counts modulo K, so that every clip has K views in turn.
    Otherwise `views` windows are spread evenly over each clip, with a center crop, and item
    `clip * views + view` is one of them.

    Args:
        manifest: the clips, see `from_folder` and `from_csv`.
        train: draw views at random, or spread them evenly.
        frames: T; 64 in the paper's training.
        fps: frames per second, 25 in the paper.
        short_side: pixels of the shorter side after resizing, 256 in the paper.
        crop: side of the square cut out, 224 in the paper.
        flow: gives the flow of a clip, a `flow.EstimatorSource` or a `flow.FlowStore`; without it no `flow` in items.
        flow_bound: in pixels, 20 in the paper.
        rgb: whether items have `rgb`; without it and with a store no window is decoded.
        seed: of the random views.
        views: windows per clip.
        distinct_views: K, after which the training views of a clip repeat; None: never.
        input_range: of `rgb`; (-1, 1) is the convention of I3D.
        flip: mirror half of the training views; not for classes that tell left from right.
        in_memory: keep the frames (a byte per value) and flow (one or two) of each clip after the first reading;
            every worker keeps its own. See `with_seed`.
        streams: what items have besides, by name: `{"depth": ArrayStream(...), "sound": AudioSpectrogram()}`, each of
            the same frames, and where it lies on their pixels of the same crop and mirroring; see `Stream`.
        dtype: of `rgb` and `flow`: torch.float32, or torch.uint8, a quarter of the bytes to collate, pin and copy to
            a device. Flow that does not come from a store of this bound is then half.

    Raises:
        ValueError: the crop is larger than the frames, or another argument is out of its range.
        ClipError: on access, when a clip cannot be read; no other clip is put in its place.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import from_folder, synthetic
        >>> from kdvideo.flow import EstimatorSource
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = synthetic.write_dataset(f"{folder}/clips", clips_per_class={"train": 1}, frames=5, fps=10)
        ...     size = {"frames": 4, "fps": 10, "short_side": 32, "crop": 24}
        ...     clips = PairedClips(from_folder(root / "train"), train=True, flow=EstimatorSource(), **size)
        ...     item = clips[0]
        >>> item["rgb"].shape, item["flow"].shape, item["label"]
        (torch.Size([3, 4, 24, 24]), torch.Size([2, 4, 24, 24]), 0)

    Source:
        Stroud et al., "D3D: Distilled 3D Networks for Video Action Recognition", 2020, arXiv 1812.08249.
    """

    def __init__(
        self,
        manifest: Dataset,
        *,
        train: bool,
        frames: int = 64,
        fps: float = 25.0,
        short_side: int = 256,
        crop: int = 224,
        flow: FlowSource | None = None,
        flow_bound: float = 20.0,
        rgb: bool = True,
        seed: int = 0,
        views: int = 1,
        input_range: tuple[float, float] = (-1.0, 1.0),
        flip: bool = True,
        in_memory: bool = False,
        distinct_views: int | None = None,
        dtype: torch.dtype = torch.float32,
        streams: Mapping[str, Stream] | None = None,
    ) -> None:
        if not isinstance(train, bool):
            raise ValueError(f"train must be True, for random views, or False, for those in the middle, got {train!r}")
        for name, number in (("frames", frames), ("views", views), ("short_side", short_side), ("crop", crop)):
            check_count(**{name: number})
        if crop > short_side:
            raise ValueError(f"crop must be in 1..{short_side}, the short side of the frames, got {crop}")
        _check_distinct_views(distinct_views)
        self.reader = ClipReader(
            manifest,
            fps=fps,
            short_side=short_side,
            flow=flow,
            flow_bound=flow_bound,
            rgb=rgb,
            input_range=input_range,
            in_memory=in_memory,
            dtype=dtype,
            streams=streams,
        )
        self.train, self.frames, self.crop, self.views, self.flip = train, frames, crop, views, flip
        self.seed, self.distinct_views = seed, distinct_views
        self._epoch = _shared_epoch()

    def __repr__(self) -> str:
        return represented(
            self,
            clips=len(self.reader),
            train=self.train,
            frames=self.frames,
            fps=self.reader.fps,
            crop=self.crop,
            flow=self.reader.flow,
            seed=self.seed,
            views=self.views,
        )

    def with_seed(self, seed: int, *, distinct_views: int | None = None) -> PairedClips:
        """Copy these clips with random views of another seed, in epoch 0; both share the reader.

        Trainings of one process share the clips that are kept in memory so.

        Args:
            seed: of the random views.
            distinct_views: K, after which the training views of a clip repeat; None: never.

        Returns:
            The copy.

        Raises:
            ValueError: `distinct_views` is below 1.
        """
        _check_distinct_views(distinct_views)
        other = copy.copy(self)
        other.seed, other.distinct_views, other._epoch = seed, distinct_views, _shared_epoch()
        return other

    def set_epoch(self, epoch: int) -> None:
        """Choose the random views of the items asked for by a plain index.

        Args:
            epoch: 0, 1, …
        """
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.reader) * self.views

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = index if isinstance(index, tuple) else (int(self._epoch), index)
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        if self.distinct_views is not None:
            epoch %= self.distinct_views
        clip, view = divmod(index, self.views)
        (item,) = self.reader.views(clip, lambda info: [self._window(info, epoch, index)])
        return item | {"view": epoch * self.views + view if self.train else view}

    @property
    def view_fingerprint(self) -> str:
        """All settings that decide what view number v of a clip shows, as JSON: equal texts, equal views.

        The number of distinct views is not part of it, since view v is the same whatever their number; nor are
        the contents of the files.
        """
        reader, rows = self.reader, [self.reader.manifest[name][:] for name in ("clip", "start", "end")]
        settings = {
            "kind": "random" if self.train else "even",
            "version": VIEW_VERSION,
            "clips": hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16],
            "frames": self.frames,
            "fps": float(reader.fps),
            "short_side": reader.short_side,
            "crop": self.crop,
            "views": self.views,
            "flow_bound": float(reader.flow_bound),
            "input_range": [float(value) for value in reader.input_range],
        }
        return json.dumps(settings | ({"seed": self.seed, "flip": self.flip} if self.train else {}), sort_keys=True)

    def _window(self, info: ClipInfo, epoch: int, index: int) -> Window:
        if self.train:
            return random_view(info, self.frames, self.crop, seed=self.seed, epoch=epoch, index=index, flip=self.flip)
        return even_view(info, self.frames, self.crop, view=index % self.views, views=self.views)


def _shared_epoch() -> Tensor:
    # Shared memory, so that workers that outlive an epoch see the next one.
    return torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call, no-any-return]


def _check_distinct_views(number: int | None) -> None:
    if number is not None and number < 1:
        raise ValueError(f"distinct_views must be at least 1, or None for views that never repeat, got {number}")
