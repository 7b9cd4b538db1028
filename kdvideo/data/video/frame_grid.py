"""Frames of a video file on a grid of times.

Legend: T frames, H W space. Frames are uint8 (T, 3, H, W), RGB.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdvideo.data.video.container import (
    MAX_FRAMES,
    MAX_PIXELS,
    Ints,
    PathLike,
    Timeline,
    file_timeline,
    open_video,
    status_of,
)
from kdvideo.data.video.errors import ClipError
from kdvideo.data.video.frame_folder import folder_frames, folder_timeline
from kdvideo.data.video.placing import Box, Place
from kdvideo.data.video.retrying import retried

MAX_BYTES = 8 * 2**30


@dataclass(frozen=True)
class ClipInfo:
    """Size of a clip: `length` grid frames of `height` x `width` pixels.

    Args:
        length: L, the number of grid frames.
        height: in pixels, after the resize.
        width: in pixels, after the resize.

    Examples:
        >>> ClipInfo(length=250, height=256, width=340).length
        250
    """

    length: int
    height: int
    width: int


@retried
def probe(
    path: PathLike,
    *,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    short_side: int | None = None,
) -> ClipInfo:
    """Find the length and frame size of what `read_frames` would give, without decoding it.

    Only the packets and one frame are read, except in AVI files: these carry no presentation times, and their
    frames are counted by decoding. The latest few thousand answers are remembered while the file stays the same.
    Errors are those of `read_frames`.

    Args:
        path: the video file.
        start: where the part begins, in seconds from the first frame (default: there).
        end: where it ends, in seconds from the first frame (default: at the last frame).
        fps: frames per second of the grid; by default every frame of the file, once.
        short_side: pixels of the shorter side after the resize (default: as coded).

    Returns:
        A `ClipInfo`: the number of grid frames, and their height and width in pixels.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import synthetic
        >>> with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        ...     _ = file.write(synthetic.encode(torch.zeros(10, 3, 64, 96, dtype=torch.uint8), fps=10))
        ...     file.flush()
        ...     probe(file.name, fps=5, short_side=32)
        ClipInfo(length=5, height=32, width=48)
    """
    _check_arguments(start, end, fps, short_side)
    line = timeline(path)
    height, width = _size(line, short_side)
    return ClipInfo(len(_grid(line, start, end, fps)), height, width)


@retried
def read_frames(
    path: PathLike,
    *,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    short_side: int | None = None,
    window: range | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> Tensor:
    """Read frames of a video file, uint8 (T, 3, H, W), RGB, as a player would show them (turned and mirrored).

    A folder of numbered jpg or png pictures is a video of 25 frames per second.

    Grid frame k is the frame shown nearest to the time `start + k / fps`; it is off by at most half the time
    between two frames of the file.

    Args:
        path: the video file.
        start: where the part that is read begins, in seconds from the first frame (default: there).
        end: where it ends, in seconds from the first frame (default: at the last frame).
        fps: frames per second of the grid; by default every frame of the file, once.
        short_side: pixels of the shorter side after a bilinear resize that keeps the shape (default: as coded).
        window: numbers of the grid frames wanted, for instance `range(10, 74)` (default: all).
        box: (top, left, height, width) of the part wanted of each frame, after the resize (default: all).

    Returns:
        uint8 (T, 3, H, W), RGB; of a `box` its height and width.

    Raises:
        ClipError: the file is missing, damaged, truncated, holds no video, or ends before `start`. Errors of the
            disk that may pass are waited for, up to two seconds.
        ValueError: `window` is no range or not within the grid, `box` not four numbers or not within the frames, or
            another argument is no number or out of its range.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import synthetic
        >>> with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        ...     _ = file.write(synthetic.encode(torch.zeros(10, 3, 64, 96, dtype=torch.uint8), fps=10))
        ...     file.flush()
        ...     read_frames(file.name, fps=5, short_side=32).shape
        torch.Size([5, 3, 32, 48])
    """
    _check_arguments(start, end, fps, short_side)
    line = timeline(path)
    grid = _grid(line, start, end, fps)
    if window is not None:
        if not isinstance(window, range):
            raise ValueError(f"window must be a range of grid frames, got {window!r}: range(10, 74)")
        if len(window) == 0 or min(window) < 0 or max(window) >= len(grid):
            raise ValueError(f"window must be within the {len(grid)} grid frames of {line.path}, got {window}")
        grid = grid[np.asarray(window)]
    height, width = _size(line, short_side)
    if box is not None and len(box) != 4:
        raise ValueError(f"box must be (top, left, height, width), got {box}")
    part = Box(0, 0, height, width) if box is None else Box(*box)
    if not (0 <= part.top < part.top + part.height <= height and 0 <= part.left < part.left + part.width <= width):
        raise ValueError(f"box must be within the frames of {height} x {width} pixels of {line.path}, got {box}")
    return _decode(line, grid, height, width, part)


def timeline(path: PathLike) -> Timeline:
    """Find when each frame of a file or of a folder of frames is shown."""
    status = status_of(path)
    find = folder_timeline if stat.S_ISDIR(status.st_mode) else file_timeline
    return find(os.fspath(path), status.st_mtime_ns, status.st_size)


def _check_arguments(start: float | None, end: float | None, fps: float | None, side: int | None) -> None:
    for name, number in (("start", start), ("end", end), ("fps", fps), ("short_side", side)):
        if number is not None and not hasattr(number, "__float__"):
            raise ValueError(f"{name} must be a number, got {number!r}")
    if fps is not None and not 0 < fps < 1e4:
        raise ValueError(f"fps must be positive, got {fps}")
    if side is not None and side < 1:
        raise ValueError(f"short_side must be at least 1 pixel, got {side}")
    if start is not None and not 0 <= start < float("inf"):
        raise ValueError(f"start must be 0 or more seconds, got {start}")
    if end is not None and not end > (start or 0):
        raise ValueError(f"end must be later than start, got start {start} and end {end}")


def _grid(line: Timeline, start: float | None, end: float | None, fps: float | None) -> Ints:
    """Return the number in `line` of the frame that each grid time takes."""
    begin, last, half = start or 0.0, float(line.seconds[-1]), line.interval / 2
    if begin > last + half:
        raise ClipError(line.path, f"its last frame is at {last:.2f} s, before the start at {begin:.2f} s")
    stop = min(last + half, float("inf") if end is None else end - 1e-6)
    rate = 1 / line.interval if fps is None else fps
    if (stop - begin) * rate > MAX_FRAMES:
        raise ClipError(line.path, f"it claims to last {last:.0f} s, more than {MAX_FRAMES} frames at {rate:g} fps")
    nearest = (line.seconds[1:] + line.seconds[:-1]) / 2
    if fps is None:
        first, after = np.searchsorted(line.seconds, [begin - 1e-6, stop])
        return np.arange(first, after) if first < after else np.searchsorted(nearest, [begin])
    times = begin + np.arange(int((stop - begin) * fps + 1e-6) + 1) / fps
    return np.searchsorted(nearest, times)


def _size(line: Timeline, short_side: int | None) -> tuple[int, int]:
    """Return height and width of the frames as they are given."""
    height, width = float(line.height), float(line.width)
    if short_side is not None:
        width *= line.aspect
        scale = short_side / min(height, width)
        height, width = max(short_side, round(height * scale)), max(short_side, round(width * scale))
    if height * width > MAX_PIXELS:
        raise ClipError(line.path, f"frames of {width:.0f}x{height:.0f} pixels are not made")
    return (int(width), int(height)) if line.orientation.transposed else (int(height), int(width))


def _decode(line: Timeline, grid: Ints, height: int, width: int, box: Box) -> Tensor:
    if len(grid) * 3 * box.height * box.width > MAX_BYTES:
        raise ClipError(line.path, f"{len(grid)} frames of {box.width}x{box.height} take more than {MAX_BYTES} bytes")
    order = np.argsort(grid, kind="stable")
    wanted = line.keys[grid[order]]
    out = np.empty((len(grid), 3, box.height, box.width), np.uint8)
    place = Place(out, height, width, line.orientation, box)
    if line.pictures:
        _fill(place, order, wanted, folder_frames(line, wanted))
        return torch.from_numpy(out)
    # A seek may land too late (open groups of pictures, a wrong index), and stamps of packets may be wrong: then every
    # frame is decoded from the first one on.
    for short in (False,) if line.counted else (True, False):
        with open_video(line.path) as (container, stream):
            if short and grid.min() > 0:
                container.seek(int(wanted[0]), stream=stream)
            frames = _needed_frames(container, stream, wanted) if short else _frames(container, stream, line.counted)
            off = _fill(place, order, wanted, frames)
        if off.max() <= (0 if short else line.key_interval):
            return torch.from_numpy(out)
    at = line.seconds[grid[order][off.argmax()]]
    raise ClipError(line.path, f"the frame at {at:.2f} s cannot be decoded")


def _frames(container: Any, stream: Any, counted: bool) -> Iterator[tuple[int, Any]]:
    for number, frame in enumerate(container.decode(stream)):
        stamp = number if counted else frame.pts
        if stamp is not None:
            yield stamp, frame


def _needed_frames(container: Any, stream: Any, wanted: Ints) -> Iterator[tuple[int, Any]]:
    """Yield the wanted frames among others: of H.264 those are not decoded from which no other one is predicted."""
    context, stamps = stream.codec_context, set(wanted.tolist())
    # Of other codecs "not a reference" may hold for some of the frames only, and of other containers a packet for half
    # a frame, the other half of which has another stamp.
    skips = context.name == "h264" and container.format.name.startswith(("mov", "matroska"))
    for packet in container.demux(stream):
        if skips:
            context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in stamps else "NONREF"
        for frame in packet.decode():
            if frame.pts is not None:
                yield frame.pts, frame


def _fill(place: Place, order: Ints, wanted: Ints, frames: Iterator[tuple[int, Any]]) -> npt.NDArray[np.float64]:
    """Put the frame of each wanted key in its place, and return how far, in keys, the frame taken is off."""
    off = np.full(len(wanted), np.inf)
    filled = 0
    for key, frame in frames:
        upto = int(np.searchsorted(wanted, key, side="right"))
        if upto > filled:
            place.put(frame, order[filled:upto])
            off[filled:upto] = key - wanted[filled:upto]
            filled = upto
        if filled == len(wanted):
            break
    return off
