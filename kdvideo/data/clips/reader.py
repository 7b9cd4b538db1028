"""Reading frames and flow of the clips of a manifest, and cutting views from them.

Legend: L grid frames of a clip, S frames of a segment, T frames of a view, H W space.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kdvideo._hints import represented
from kdvideo._numbers import check_count, is_number, positive
from kdvideo.data.clips.floating import to_float
from kdvideo.data.clips.flow_sources import (
    CountedFlow,
    QuantizedFlow,
    StoredFlow,
    check_rate,
    check_sources,
)
from kdvideo.data.clips.sampling import Window, flow_positions, window_positions
from kdvideo.data.clips.streams import ClipSource, Stream, check_streams, cut_stream
from kdvideo.data.video.frame_grid import ClipInfo, probe, read_frames
from kdvideo.data.video.placing import Box
from kdvideo.data.video.retrying import retried
from kdvideo.flow import FlowSource, to_unit
from kdvideo.flow.frames import check_black_and_white

if TYPE_CHECKING:
    from datasets import Dataset


TAKEN = {"rgb", "flow", "length", "label", "index", "clip", "view"}


@dataclass(frozen=True)
class Segment:
    """Consecutive frames of a clip and their flow.

    Args:
        info: of the whole clip.
        first: number of the first frame.
        frames: uint8 (S, 3, H, W); None where the reader reads no frames.
        flow: (S, 2, H, W): uint8, as `flow.quantize` makes it, where a store of the same bound holds it so; else half,
            in units of the bound, [-1, 1]. Where the segment reaches the end of the clip it is one shorter, as the last
            frame has no next one. None where the reader reads no flow.
        corner: the (top, left) from which on the frames are there, where only some views are read.

    Examples:
        >>> frames = torch.zeros(4, 3, 32, 48, dtype=torch.uint8)
        >>> segment = Segment(ClipInfo(length=9, height=32, width=48), first=2, frames=frames, flow=None)
        >>> segment.info.length, segment.frames.shape[0], segment.corner
        (9, 4, (0, 0))
    """

    info: ClipInfo
    first: int
    frames: Tensor | None
    flow: Tensor | None
    corner: tuple[int, int] = (0, 0)


class ClipReader:
    """Frames and flow of the clips of a manifest, all at one rate and size.

    A clip is sampled at `fps` and resized to `short_side`: L frames. The flow of a frame leads to the clip's next
    one; the last frame takes the flow before it, and nothing moves in a clip of one frame. `PairedClips` and
    `MultiView` choose the views; this class reads them.

    Args:
        manifest: the clips, see `from_folder` and `from_csv`.
        fps: frames per second, 25 in the paper.
        short_side: pixels of the shorter side after resizing, 256 in the paper.
        flow: gives the flow of a clip, a `flow.EstimatorSource` or a `flow.FlowStore`; None: no flow is read.
        flow_bound: in pixels, 20 in the paper.
        rgb: whether frames are given; without them and with a store no frame is decoded.
        input_range: of the frames of a view; (-1, 1) is the convention of I3D.
        in_memory: keep the frames (a byte per value) and flow (one or two) of each clip after the first reading;
            every process keeps its own.
        streams: what a view has besides, by name; see `Stream`.
        dtype: of views: torch.float32, or torch.uint8 for what `to_float` makes the same of on a device: frames as
            bytes, flow as in a `Segment`.

    Raises:
        ValueError: an argument is out of its range, or two clips have one id; on access, the flow does not fit the
            frames.
        ClipError: on access, when a clip cannot be read.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import from_folder, synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = synthetic.write_dataset(f"{folder}/clips", clips_per_class={"train": 1}, frames=9, fps=10)
        ...     reader = ClipReader(from_folder(root / "train"), fps=10, short_side=32)
        ...     segment = reader.read(0, range(2, 6))
        ...     (last,) = reader.views(0, lambda clip: [Window(clip.length - 4, 0, 0, 24, flip=False, frames=4)])
        >>> segment.info, segment.frames.shape
        (ClipInfo(length=9, height=32, width=32), torch.Size([4, 3, 32, 32]))
        >>> last["rgb"].shape, last["label"], last["clip"]
        (torch.Size([3, 4, 24, 24]), 0, 'horizontal/0000.mp4')
    """

    def __init__(
        self,
        manifest: Dataset,
        *,
        fps: float = 25.0,
        short_side: int = 256,
        flow: FlowSource | None = None,
        flow_bound: float = 20.0,
        rgb: bool = True,
        input_range: tuple[float, float] = (-1.0, 1.0),
        in_memory: bool = False,
        dtype: torch.dtype = torch.float32,
        streams: Mapping[str, Stream] | None = None,
    ) -> None:
        check_sources(manifest, flow)
        if not all(is_number(number) and positive(number) for number in (fps, flow_bound)):
            raise ValueError(f"fps and flow_bound must be positive numbers, got {fps!r} and {flow_bound!r}")
        check_count(short_side=short_side)
        if dtype not in (torch.float32, torch.uint8):
            raise ValueError(f"dtype must be torch.float32, or torch.uint8 for `to_float`, got {dtype}")
        if flow is None and not rgb and not streams:
            raise ValueError("rgb must be True where flow is None, got False: pass a flow source, or items are empty")
        if streams is not None:
            check_streams(streams)
        check_black_and_white(input_range, "input_range")
        if taken := sorted(set(streams or ()) & TAKEN):
            raise ValueError(f"streams must have names of their own, got {taken}: items have these already")
        ids = manifest["clip"][:]  # at once: going through the column itself reads row by row
        if len(set(ids)) != len(manifest):
            raise ValueError("the column `clip` of the manifest must name every clip once, got a name twice")
        check_rate(flow, fps)
        self.manifest, self.fps, self.short_side, self.flow = manifest, fps, short_side, flow
        self.flow_bound, self.rgb, self.input_range, self.in_memory = flow_bound, rgb, input_range, in_memory
        self.dtype, self.streams = dtype, dict(streams or {})
        self._labels, self._ids = np.asarray(manifest["label"][:], dtype=np.int64), ids
        self._memory: dict[int, Segment] = {}
        self._counted: set[int] = set()

    def __repr__(self) -> str:
        return represented(
            self,
            clips=len(self),
            fps=self.fps,
            short_side=self.short_side,
            flow=self.flow,
            flow_bound=self.flow_bound,
        )

    def __len__(self) -> int:
        return len(self._ids)

    def info(self, index: int) -> ClipInfo:
        """Find the size of a clip.

        Args:
            index: the row of the manifest.

        Returns:
            L, H and W.
        """
        if index in self._memory:
            return self._memory[index].info
        row = self.manifest[index]
        return probe(row["path"], **self._sampling(row))

    def read(self, index: int, frames: range) -> Segment:
        """Read a segment of a clip that holds some frames: all of the clip where clips stay in memory.

        The flow of every frame is in it: it begins one frame earlier where only the last frame of the clip is wanted.

        Args:
            index: the row of the manifest.
            frames: numbers of consecutive frames.

        Returns:
            The segment, from one reading.

        Raises:
            ValueError: `frames` are not within the clip, or the flow does not fit them.
            ClipError: the clip cannot be read.
        """
        info = self.info(index)
        return self._segment(index, info, frames[0], frames[-1], Box(0, 0, info.height, info.width))

    def views(self, index: int, choose: Callable[[ClipInfo], Sequence[Window]]) -> list[dict[str, Any]]:
        """Read views of clip number `index`, all from one reading.

        Args:
            index: the row of the manifest.
            choose: gives the views, from the length and size of the clip.

        Returns:
            For each view a dict with `rgb`, `length` and `flow` as `PairedClips` gives them, and `label`, `index` and
            `clip`, which say which clip it shows.

        Raises:
            ValueError: `choose` gives no view, or one that is not within the clip, or flow or a stream does not fit.
            ClipError: the clip cannot be read.
        """
        info = self.info(index)
        windows = choose(info)
        if not windows:
            raise ValueError(f"choose must give at least one view of clip {self._ids[index]!r}, got none")
        for window in windows:
            _check_within(window, info)
        first = min(window.start for window in windows)
        last = max(min(window.start + window.frames, info.length) for window in windows) - 1
        segment = self._segment(index, info, first, last, _around(windows))
        names = {"label": int(self._labels[index]), "index": index, "clip": self._ids[index]}
        more = self._more(index, info, windows, range(first, last + 1))
        return [self.cut(segment, window) | extra | names for window, extra in zip(windows, more, strict=True)]

    def _more(self, index: int, info: ClipInfo, windows: Sequence[Window], frames: range) -> list[dict[str, Tensor]]:
        """Return the other streams of each view."""
        if not self.streams:
            return [{} for _ in windows]
        row = self.manifest[index]
        source = ClipSource(self._ids[index], row["path"], **self._sampling(row), info=info)
        found = {name: stream.read(source, frames) for name, stream in self.streams.items()}
        for name, values in found.items():
            if len(values) != len(frames):
                raise ValueError(
                    f"stream {name!r} of clip {source.clip!r} must give {len(frames)} rows for frames {frames.start} "
                    f"to {frames.stop - 1}, got {len(values)}"
                )
        at = [window_positions(one.start, one.frames, info.length) - frames.start for one in windows]
        return [
            {name: cut_stream(name, self.streams[name], source, one, found[name], here) for name in found}
            for one, here in zip(windows, at, strict=True)
        ]

    def cut(self, segment: Segment, window: Window) -> dict[str, Any]:
        """Cut a view from a segment that holds its frames.

        Args:
            segment: from `read`, of the same clip.
            window: the view.

        Returns:
            A dict with `rgb` and `length`, and `flow`, as far as the segment has them.
        """
        length = segment.info.length
        at = window_positions(window.start, window.frames, length)
        view: dict[str, Any] = {}
        if segment.frames is not None:
            top, left = segment.corner
            part = dataclasses.replace(window, top=window.top - top, left=window.left - left)
            view["rgb"] = part.cut(segment.frames, at - segment.first)
            view["length"] = min(length, window.frames)
        if segment.flow is not None:
            view["flow"] = window.cut(segment.flow, flow_positions(at, length) - segment.first)
            if window.flip:  # a copy by then; of a byte, - q is 256 - q: the same motion to the other side
                view["flow"][0].neg_()
        if self.dtype == torch.float32:
            return to_float(view, input_range=self.input_range)
        return {name: value.contiguous() if isinstance(value, Tensor) else value for name, value in view.items()}

    def _segment(self, index: int, info: ClipInfo, first: int, last: int, box: Box) -> Segment:
        if not self.in_memory:
            return self._read(index, info, min(first, max(info.length - 2, 0)), last, box)
        if index not in self._memory:
            self._memory[index] = self._read(index, info, 0, info.length - 1, Box(0, 0, info.height, info.width))
        return self._memory[index]

    def _sampling(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"start": row["start"], "end": row["end"], "fps": self.fps, "short_side": self.short_side}

    def _read(self, index: int, info: ClipInfo, first: int, last: int, box: Box) -> Segment:
        row = self.manifest[index]
        stored = self.flow is None or isinstance(self.flow, StoredFlow)
        if not stored:
            box = Box(0, 0, info.height, info.width)
        after = last if stored else min(last + 1, info.length - 1)  # the frame to which the last flow leads
        frames = flow = None
        if self.rgb or not stored:
            frames = read_frames(row["path"], window=range(first, after + 1), box=box, **self._sampling(row))
        if self.flow is not None:
            self._check_count(index, row, info)
            flow = self._flow(self._ids[index], info, first, last, frames)
        shown = frames[: last - first + 1] if self.rgb and frames is not None else None
        return Segment(info, first, shown, flow, (box.top, box.left))

    @retried
    def _check_count(self, index: int, row: dict[str, Any], info: ClipInfo) -> None:
        """Check once that stored flow is one less than the frames: at another rate wrong ones would be paired."""
        if index in self._counted or not isinstance(self.flow, CountedFlow) or info.length == 1:
            return
        count = self.flow.count(self._ids[index], row["path"])
        if count != info.length - 1:
            native = probe(row["path"], start=row["start"], end=row["end"]).length
            advice = "pass the fps of the file" if count == native - 1 else "compute the flow again"
            raise ValueError(
                f"stored flow of clip {self._ids[index]!r} must be {info.length - 1} fields, for {info.length} frames "
                f"at {self.fps:g} fps, got {count}; the file has {native} frames at its own rate: {advice}"
            )
        self._counted.add(index)

    @retried
    def _flow(self, clip: str, info: ClipInfo, first: int, last: int, frames: Tensor | None) -> Tensor:
        if info.length == 1:  # nothing moves in a single frame
            return torch.zeros(1, 2, info.height, info.width, dtype=torch.half)
        start, stop = first, min(last + 1, info.length - 1)
        if isinstance(self.flow, QuantizedFlow) and self.flow.bound == self.flow_bound:
            flow = self.flow.read_quantized(clip, start=start, stop=stop)
        elif isinstance(self.flow, StoredFlow):
            flow = self.flow.read(clip, start=start, stop=stop)
        else:
            assert self.flow is not None
            assert frames is not None
            flow = self.flow(clip, frames)
        expected = (stop - start, 2, info.height, info.width)
        if tuple(flow.shape) != expected:
            raise ValueError(
                f"flow {start}:{stop} of clip {clip!r} must be {expected}, got {tuple(flow.shape)}: "
                f"was it made at {self.fps:g} fps with a short side of {self.short_side}?"
            )
        return flow if flow.dtype == torch.uint8 else to_unit(flow, self.flow_bound).half()


def _around(windows: Sequence[Window]) -> Box:
    """Return the smallest part of the frames that holds all windows."""
    top, left = (min(getattr(window, side) for window in windows) for side in ("top", "left"))
    height = max(window.top + window.crop for window in windows) - top
    return Box(top, left, height, max(window.left + window.crop for window in windows) - left)


def _check_within(window: Window, info: ClipInfo) -> None:
    within = (
        0 <= window.start <= max(info.length - window.frames, 0)
        and 0 <= window.top <= info.height - window.crop
        and 0 <= window.left <= info.width - window.crop
    )
    if not within:
        raise ValueError(f"views must be within the clip, {info}, got {window}")
