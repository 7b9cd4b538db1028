"""Opening video files safely, and the times at which they show a frame."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from .errors import ClipError

# Plain media containers only: a playlist (hls, concat, dash) could name other files or addresses.
FORMATS = "mov,avi,matroska,mpegts,mpeg,flv,asf,ogg"
MAX_PIXELS = 8192 * 4608


@contextmanager
def open_video(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Any]]:
    """The container and its first real video stream; whatever fails inside becomes a `ClipError`."""
    try:
        _check_regular_file(path)
        limit = {"max_pixels": str(MAX_PIXELS)}
        rules = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
        url = "file:" + os.path.abspath(path)
        with av.open(url, metadata_errors="ignore", options=limit, container_options=rules) as container:
            stream = _video_stream(path, container)
            # One thread: a worker process is the unit of parallelism, and threads do not survive a fork.
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            stream.codec_context.options = limit
            yield container, stream
    except ClipError:
        raise
    except Exception as error:  # five and more classes come out of a decoder fed with damaged files
        raise ClipError(path, _reason(path, error)) from error


def _check_regular_file(path: str | os.PathLike[str]) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ClipError(path, "not a regular file")
    if status.st_size == 0:
        raise ClipError(path, "the file is empty")


def _video_stream(path: str | os.PathLike[str], container: Any) -> Any:
    cover = av.stream.Disposition.attached_pic
    videos = [s for s in container.streams.video if not s.disposition & cover]
    if not videos:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise ClipError(path, f"no video stream (the file holds: {kinds})")
    stream = videos[0]
    if stream.codec_context is None:
        raise ClipError(path, "no decoder for its video codec")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ClipError(path, f"frames of {width}x{height} pixels are not accepted")
    return stream


def _reason(path: str | os.PathLike[str], error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, av.error.InvalidDataError):
        try:
            with open(path, "rb") as file:
                head = file.read(48)
        except OSError:
            head = b""
        if head and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
            return f"not a video but text, beginning with {head.decode('ascii')!r}"
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Timeline:
    """The frames of a clip in the order of display.

    `keys` says how the decoder's frames are recognised: by presentation time stamp, or (`counted`) by their
    number; `seconds` is the time of each from the first one on.
    """

    path: str
    width: int
    height: int
    counted: bool
    keys: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]

    @property
    def interval(self) -> float:
        """The usual time from one frame to the next, in seconds."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 0.04


def timeline(path: str | os.PathLike[str]) -> Timeline:
    """When each frame is shown, from the packets (no picture is decoded where the container has times)."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ClipError(path, _reason(path, error)) from error
    return _timeline(os.fspath(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _timeline(path: str, mtime_ns: int, size: int) -> Timeline:
    with open_video(path) as (container, stream):
        # AVI has no presentation times: with B-frames the ones made up from its packets are out of order.
        counted = container.format.name == "avi"
        keys = _count(container, stream) if counted else _stamps(container, stream)
        if len(keys) == 0:
            raise ClipError(path, "no video frame in it")
        _check_count(path, stream, len(keys), counted)
        tick = 1 / stream.average_rate if counted else stream.time_base
        seconds = (keys - keys[0]) * float(tick)
        return Timeline(path, stream.codec_context.width, stream.codec_context.height, counted, keys, seconds)


def _count(container: Any, stream: Any) -> npt.NDArray[np.int64]:
    return np.arange(sum(1 for _ in container.decode(stream)), dtype=np.int64)


def _stamps(container: Any, stream: Any) -> npt.NDArray[np.int64]:
    stamps = [
        packet.dts if packet.pts is None else packet.pts
        for packet in container.demux(stream)
        if packet.size and not packet.is_discard and (packet.pts is not None or packet.dts is not None)
    ]
    return np.unique(np.asarray(stamps, dtype=np.int64))


def _check_count(path: str, stream: Any, found: int, counted: bool) -> None:
    # Packed B-frames of DivX leave one or two fewer pictures than the header of an AVI announces.
    spare = max(3, stream.frames // 50) if counted else 0
    if found + spare < stream.frames:
        raise ClipError(path, f"truncated: {found} of the {stream.frames} frames its header announces")
