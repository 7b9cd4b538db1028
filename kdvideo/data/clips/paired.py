"""RGB and flow of the same moment of the same clip, cut and mirrored alike.

Legend: L grid frames of a clip, T frames of a window, H W space.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as MapDataset

from kdvideo.data.clips.sampling import VIEW_VERSION, View, even_view, flow_positions, random_view, window_positions
from kdvideo.data.video.reading import ClipInfo, probe, read_frames
from kdvideo.flow import FlowSource, to_unit

if TYPE_CHECKING:
    from datasets import Dataset


@runtime_checkable
class StoredFlow(Protocol):
    """A flow source that needs no frames, such as `kdvideo.flow.FlowStore`."""

    def read(self, clip_id: str, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Flow `start:stop` of a clip, (stop - start, 2, H, W) float, pixels."""
        ...


class PairedClips(MapDataset[dict[str, Any]]):
    """Views of the clips of a manifest: a window of frames and its flow, of the same crop and mirroring.

    The clip is sampled at `fps` and resized to `short_side`. A window is T = `frames` of its L frames; a clip
    shorter than that starts over. The flow at a position leads from its frame to the clip's next one; the last
    frame of the clip takes the flow before it. An item is a dict of

    - `rgb`: float (3, T, crop, crop), in `input_range`;
    - `flow`: float (2, T, crop, crop), u first, truncated to ±`flow_bound` pixels and divided by it: [-1, 1];
    - `length`: with `rgb`, how many different frames the window shows, min(L, T); what `flow.OnlineFlow` needs;
    - `clip`: its id; `label`, `index` (the row of the manifest), `view`: int. Clip and view say which item it is.

    In training, window, crop and mirroring are drawn at random, as a function of (seed, epoch, index) alone: the
    number of workers changes no byte. The epoch is the one of `set_epoch`, or part of the index, as in
    `dataset[epoch, index]`; with K = `distinct_views` it counts modulo K, so that every clip has K views in turn.
    Otherwise `views` windows are spread evenly over each clip, with a centre crop, and item
    `clip * views + view` is one of them.

    Args:
        manifest: the clips, see `from_folder` and `from_csv`.
        train: random views, or even ones.
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
        in_memory: keep the frames (a byte per value) and flow (two) of each clip after the first reading; every
            worker keeps its own.

    Raises:
        ValueError: the crop is larger than the frames, or another argument is out of its range.
        ClipError: on access, when a clip cannot be read; no other clip is put in its place.

    Source: Stroud et al., "D3D: Distilled 3D Networks for Video Action Recognition", 2020, arXiv:1812.08249.

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
    ) -> None:
        _check_arguments(frames, fps, short_side, crop, flow_bound, views, distinct_views)
        if flow is None and not rgb:
            raise ValueError("items would be empty: pass a flow source, or leave rgb=True")
        self.manifest, self.train, self.frames, self.fps = manifest, train, frames, fps
        self.short_side, self.crop, self.flow, self.flow_bound = short_side, crop, flow, flow_bound
        self.rgb, self.seed, self.views, self.input_range, self.flip = rgb, seed, views, input_range, flip
        self.distinct_views = distinct_views
        self._memory: dict[int, tuple[Tensor | None, Tensor | None]] | None = {} if in_memory else None
        if len(set(manifest["clip"])) != len(manifest):
            raise ValueError("the column `clip` of the manifest must name every clip once")
        self._labels, self._ids = np.asarray(manifest["label"], dtype=np.int64), list(manifest["clip"])
        # Shared memory, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Choose the random views of the items asked for by a plain index."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._labels) * self.views

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = index if isinstance(index, tuple) else (int(self._epoch), index)
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        if self.distinct_views is not None:
            epoch %= self.distinct_views
        clip, view = divmod(index, self.views)
        streams = self._window(clip, epoch, index) if self._memory is None else self._kept(clip, epoch, index)
        number = epoch * self.views + view if self.train else view
        return streams | {"label": int(self._labels[clip]), "index": clip, "clip": self._ids[clip], "view": number}

    @property
    def view_fingerprint(self) -> str:
        """Everything that decides what view number v of a clip shows, as JSON: equal texts, equal views.

        The number of distinct views is not part of it, since view v is the same whatever their number; nor are
        the contents of the files.
        """
        names = ["frames", "short_side", "crop", "views", *(["seed", "flip"] if self.train else [])]
        settings = {name: getattr(self, name) for name in names}
        settings |= {"fps": float(self.fps), "flow_bound": float(self.flow_bound)}
        settings["input_range"] = [float(value) for value in self.input_range]
        rows = json.dumps([list(self.manifest[name]) for name in ("clip", "start", "end")])
        settings["clips"] = hashlib.sha256(rows.encode()).hexdigest()[:16]
        settings |= {"kind": "random" if self.train else "even", "version": VIEW_VERSION}
        return json.dumps(settings, sort_keys=True)

    def _view(self, epoch: int, index: int, info: ClipInfo) -> View:
        size = (info.length, self.frames, info.height, info.width, self.crop)
        if self.train:
            return random_view(self.seed, epoch, index, *size, flip=self.flip)
        return even_view(index % self.views, self.views, *size)

    def _window(self, clip: int, epoch: int, index: int) -> dict[str, Any]:
        """An item straight from the files: only what its window needs is read."""
        row = self.manifest[clip]
        info = self._probe(row)
        view = self._view(epoch, index, info)
        at = window_positions(view.start, self.frames, info.length)
        first, last = min(int(at.min()), max(info.length - 2, 0)), int(at.max())
        frames, flow = self._read(row, info, first, last)
        return self._cut(view, info, frames, at - first, flow, flow_positions(at, info.length) - first)

    def _kept(self, clip: int, epoch: int, index: int) -> dict[str, Any]:
        """An item from memory, which is filled with the whole clip the first time."""
        assert self._memory is not None
        if clip not in self._memory:
            row = self.manifest[clip]
            info = self._probe(row)
            self._memory[clip] = self._read(row, info, 0, info.length - 1)
        frames, flow = self._memory[clip]
        info = _info(frames, flow)
        view = self._view(epoch, index, info)
        at = window_positions(view.start, self.frames, info.length)
        return self._cut(view, info, frames, at, flow, flow_positions(at, info.length))

    def _probe(self, row: dict[str, Any]) -> ClipInfo:
        return probe(row["path"], start=row["start"], end=row["end"], fps=self.fps, short_side=self.short_side)

    def _read(self, row: dict[str, Any], info: ClipInfo, first: int, last: int) -> tuple[Tensor | None, Tensor | None]:
        """Frames `first` to `last` and their flow, in units of the bound; None for what items do not have."""
        stored = self.flow is None or isinstance(self.flow, StoredFlow)
        after = last if stored else min(last + 1, info.length - 1)  # the frame to which the last flow leads
        frames = flow = None
        if self.rgb or not stored:
            frames = read_frames(
                row["path"],
                start=row["start"],
                end=row["end"],
                fps=self.fps,
                short_side=self.short_side,
                window=range(first, after + 1),
            )
        if self.flow is not None:
            flow = to_unit(self._flow(row["clip"], info, first, last, frames), self.flow_bound).half()
        return frames[: last - first + 1] if self.rgb and frames is not None else None, flow

    def _flow(self, clip: str, info: ClipInfo, first: int, last: int, frames: Tensor | None) -> Tensor:
        if info.length == 1:  # nothing moves in a single frame
            return torch.zeros(1, 2, info.height, info.width)
        start, stop = first, min(last + 1, info.length - 1)
        if isinstance(self.flow, StoredFlow):
            flow = self.flow.read(clip, start=start, stop=stop)
        else:
            assert self.flow is not None
            assert frames is not None
            flow = self.flow(clip, frames)
        expected = (stop - start, 2, info.height, info.width)
        if tuple(flow.shape) != expected:
            raise ValueError(
                f"flow {start}:{stop} of clip {clip!r} is {tuple(flow.shape)}, expected {expected}: "
                f"was it made at {self.fps:g} fps with a short side of {self.short_side}?"
            )
        return flow

    def _cut(
        self, view: View, info: ClipInfo, frames: Tensor | None, at: Tensor, flow: Tensor | None, flow_at: Tensor
    ) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if frames is not None:
            low, high = self.input_range
            out["rgb"] = view.cut(frames, at).float().mul_((high - low) / 255).add_(low)
            out["length"] = min(info.length, self.frames)
        if flow is not None:
            out["flow"] = view.cut(flow, flow_at).float()
            if view.flip:
                out["flow"][0].neg_()
        return out


def _info(frames: Tensor | None, flow: Tensor | None) -> ClipInfo:
    if frames is not None:
        return ClipInfo(len(frames), *frames.shape[-2:])
    assert flow is not None
    return ClipInfo(len(flow) + 1, *flow.shape[-2:])


def _check_arguments(
    frames: int, fps: float, short_side: int, crop: int, bound: float, views: int, distinct_views: int | None
) -> None:
    if not 1 <= crop <= short_side:
        raise ValueError(f"crop must be in 1..{short_side}, the short side of the frames, got {crop}")
    if frames < 1 or views < 1:
        raise ValueError(f"frames and views must be at least 1, got {frames} and {views}")
    if not 0 < fps < float("inf") or not 0 < bound < float("inf"):
        raise ValueError(f"fps and flow_bound must be positive, got {fps} and {bound}")
    if distinct_views is not None and distinct_views < 1:
        raise ValueError(
            f"distinct_views must be at least 1, or None for views that never repeat, got {distinct_views}"
        )
