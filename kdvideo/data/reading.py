"""Frames of a video file on a grid of times.

Legend: T frames, H W space. Frames are uint8 (T, 3, H, W), RGB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from .container import Timeline, open_video, timeline
from .errors import ClipError

MAX_BYTES = 8 * 2**30
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClipInfo:
    """What a clip holds: `length` grid frames of `height` x `width` pixels."""

    length: int
    height: int
    width: int


def probe(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    short_side: int | None = None,
) -> ClipInfo:
    """Length and frame size of what `read_frames` would give, without decoding it.

    Arguments and errors as in `read_frames`. Only the packets are read, except in AVI files, which carry no
    presentation times: their frames are counted by decoding. The last few thousand answers are remembered.
    """
    line = timeline(path)
    height, width = _size(line, short_side)
    return ClipInfo(len(_grid(line, start, end, fps)), height, width)


def read_frames(
    path: str | os.PathLike[str],
    *,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    short_side: int | None = None,
    window: range | None = None,
) -> Tensor:
    """Frames of a video file, uint8 (T, 3, H, W), RGB.

    Grid frame k is the frame shown nearest to the time `start + k / fps`; it is off by at most half the time
    between two frames of the file.

    Args:
        path: the video file.
        start, end: the part of the clip, in seconds from its first frame (default: all of it).
        fps: frames per second of the grid; the default is every frame of the file, as it is.
        short_side: pixels of the shorter side after a bilinear resize that keeps the aspect (default: as is).
        window: numbers of the grid frames wanted, for instance `range(10, 74)`; the default is all.

    Raises:
        ClipError: the file is missing, damaged, truncated, holds no video, or ends before `start`.
        ValueError: `window` is not within the grid, or another argument is out of its range.
    """
    _check_arguments(start, end, fps, short_side)
    line = timeline(path)
    grid = _grid(line, start, end, fps)
    if window is not None:
        if len(window) == 0 or min(window) < 0 or max(window) >= len(grid):
            raise ValueError(f"window {window} is not within the {len(grid)} grid frames of {line.path}")
        grid = grid[np.asarray(window)]
    height, width = _size(line, short_side)
    if len(grid) * 3 * height * width > MAX_BYTES:
        raise ClipError(
            path, f"{len(grid)} frames of {width}x{height} would need more than {MAX_BYTES} bytes"
        )
    return _decode(line, grid, height, width)


def _check_arguments(start: float | None, end: float | None, fps: float | None, side: int | None) -> None:
    if fps is not None and not 0 < fps < 1e4:
        raise ValueError(f"fps must be positive, got {fps}")
    if side is not None and side < 1:
        raise ValueError(f"short_side must be at least 1 pixel, got {side}")
    if start is not None and not 0 <= start < float("inf"):
        raise ValueError(f"start must be 0 or more seconds, got {start}")
    if end is not None and not end > (start or 0):
        raise ValueError(f"end must be later than start, got start {start} and end {end}")


def _grid(line: Timeline, start: float | None, end: float | None, fps: float | None) -> Ints:
    """The number in `line` of the frame that each grid time takes."""
    begin, last, half = start or 0.0, line.seconds[-1], line.interval / 2
    stop = min(last + half, float("inf") if end is None else end - 1e-6)
    if begin > last + half:
        raise ClipError(line.path, f"its last frame is at {last:.2f} s, before the start at {begin:.2f} s")
    if fps is None:
        inside = np.flatnonzero((line.seconds >= begin - half) & (line.seconds <= stop))
        return inside if len(inside) else np.asarray([len(line.seconds) - 1])
    times = begin + np.arange(int((stop - begin) * fps + 1e-6) + 1) / fps
    return np.searchsorted((line.seconds[1:] + line.seconds[:-1]) / 2, times)


def _size(line: Timeline, short_side: int | None) -> tuple[int, int]:
    if short_side is None:
        return line.height, line.width
    scale = short_side / min(line.height, line.width)
    return max(short_side, round(line.height * scale)), max(short_side, round(line.width * scale))


def _decode(line: Timeline, grid: Ints, height: int, width: int) -> Tensor:
    order = np.argsort(grid, kind="stable")
    wanted = line.keys[grid[order]]
    out = np.empty((len(grid), 3, height, width), np.uint8)
    with open_video(line.path) as (container, stream):
        if not line.counted and grid.min() > 0:
            container.seek(int(wanted[0]), stream=stream)
        _fill(line, out, order, wanted, _frames(container, stream, line.counted))
    return torch.from_numpy(out)


def _frames(container: Any, stream: Any, counted: bool) -> Iterator[tuple[int, Any]]:
    for number, frame in enumerate(container.decode(stream)):
        if counted:
            yield number, frame
        elif frame.pts is not None:
            yield frame.pts, frame


def _fill(line: Timeline, out: Any, order: Ints, wanted: Ints, frames: Iterator[tuple[int, Any]]) -> None:
    convert = VideoReformatter()
    filled, last = 0, None
    for key, frame in frames:
        last = key, frame
        first = filled
        while filled < len(wanted) and wanted[filled] <= key:
            filled += 1
        if first < filled:
            _convert(convert, frame, out, order[first:filled])
        if filled == len(wanted):
            return
    if last is None:
        raise ClipError(line.path, "no frame can be decoded")
    _convert(convert, last[1], out, order[filled:])


def _convert(convert: VideoReformatter, frame: Any, out: Any, slots: Ints) -> None:
    height, width = out.shape[-2:]
    # threads=1: swscale's own threads would be missing, and waited for, in a forked worker.
    planar = convert.reformat(frame, width, height, "gbrp", interpolation="BILINEAR", threads=1)
    first = out[slots[0]]
    for plane, channel in zip(planar.planes, (1, 2, 0), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        first[channel] = rows[:height, :width]
    for slot in slots[1:]:
        out[slot] = first
