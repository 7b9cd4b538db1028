"""Safe opening of video files, and the times at which their frames are shown."""

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

from kdvideo.data.video.errors import ClipError

# Plain media containers only: a playlist (hls, concat, dash) could name other files or addresses.
FORMATS = "mov,avi,matroska,mpegts,mpeg,flv,asf,ogg"
MAX_PIXELS = 8192 * 4608
MAX_FRAMES = 2**22

PathLike = str | os.PathLike[str]
Ints = npt.NDArray[np.int64]


@contextmanager
def open_video(path: PathLike) -> Iterator[tuple[Any, Any]]:
    """Open a file and yield its container and first video stream that is not a cover picture.

    Raises:
        ClipError: whatever fails, here and in the block.
    """
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


def _check_regular_file(path: PathLike) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ClipError(path, "not a regular file")
    if status.st_size == 0:
        raise ClipError(path, "the file is empty")


def _video_stream(path: PathLike, container: Any) -> Any:
    cover = av.stream.Disposition.attached_pic
    videos = [s for s in container.streams.video if not s.disposition & cover]
    if not videos:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise ClipError(path, f"no video stream (the file holds: {kinds})")
    stream = videos[0]
    if stream.codec_context is None:
        raise ClipError(path, "no decoder for its video codec")
    return stream


def _reason(path: PathLike, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, av.error.InvalidDataError) and (head := _text_head(path)):
        return f"not a video but text, beginning with {head!r}"
    if isinstance(error, av.FFmpegError):
        return f"damaged, not a video, or of more than {MAX_PIXELS} pixels: {error.strerror}"
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"


def _text_head(path: PathLike) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(48)
    except OSError:
        return ""
    return head.decode("ascii") if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head) else ""


@dataclass(frozen=True)
class Timeline:
    """The frames of a file in the order in which they are shown.

    `keys` is how the decoder's frames are recognized: by presentation time stamp or, where `counted`, by their
    number. `seconds` is the time of each from the first one on. `height` and `width` are as coded; for display
    pixels are `aspect` wide to 1 high, and then turned by `turns` quarters counter-clockwise.
    """

    path: str
    height: int
    width: int
    aspect: float
    turns: int
    counted: bool
    keys: Ints
    seconds: npt.NDArray[np.float64]

    @property
    def interval(self) -> float:
        """Median time from one frame to the next, in seconds."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 0.04

    @property
    def key_interval(self) -> float:
        """Median difference between the keys of neighbouring frames."""
        return float(np.median(np.diff(self.keys))) if len(self.keys) > 1 else 0.0


def timeline(path: PathLike) -> Timeline:
    """Find when each frame is shown: from the packets and one decoded frame, where the container has times."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise ClipError(path, _reason(path, error)) from error
    return _timeline(os.fspath(path), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4096)
def _timeline(path: str, mtime_ns: int, size: int) -> Timeline:
    with open_video(path) as (container, stream):
        # AVI has no presentation times: with B-frames the ones made up from its packets are out of order.
        counted = container.format.name == "avi"
        seen = _Pass(path)
        stamps = seen.run(container, stream, every_frame=counted)
        if seen.first is None or len(stamps) == 0:
            raise ClipError(path, "no video frame in it can be decoded")
        if seen.packets < stream.frames:
            raise ClipError(path, f"truncated: {seen.packets} of the {stream.frames} frames that its header announces")
        aspect = float(stream.sample_aspect_ratio or 1)
        keys = np.arange(len(stamps)) if counted else stamps
        in_order = bool((np.diff(stamps) > 0).all())
        seconds = (stamps - stamps[0]) * float(stream.time_base) if in_order else keys / float(stream.average_rate)
        return Timeline(
            path=path,
            height=seen.first.height,
            width=seen.first.width,
            aspect=aspect if 0.25 <= aspect <= 4 else 1.0,
            turns=round(seen.first.rotation / 90) % 4,
            counted=counted,
            keys=keys,
            seconds=seconds,
        )


@dataclass
class _Pass:
    """One pass over the packets of a file: counts them and keeps the first frame."""

    path: str
    packets: int = 0
    first: Any = None

    def run(self, container: Any, stream: Any, *, every_frame: bool) -> Ints:
        """Return the time stamps of all decoded frames as they come, or else of the packets, sorted."""
        frames: list[int] = []
        packets: list[int] = []
        for packet in container.demux(stream):
            self.packets += packet.size > 0
            stamp = packet.dts if packet.pts is None else packet.pts
            if packet.size and not packet.is_discard and stamp is not None:
                packets.append(stamp)
            if every_frame or self.first is None:
                for frame in packet.decode():
                    self.first = self.first or frame
                    frames.append(frame.pts or 0)
            if self.packets > MAX_FRAMES:
                raise ClipError(self.path, f"more than {MAX_FRAMES} frames")
        return np.asarray(frames, np.int64) if every_frame else np.unique(np.asarray(packets, np.int64))
