"""Safe opening of video files, and the times at which their frames are shown."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt

from kdvideo.data.video.errors import ClipError
from kdvideo.data.video.truncation import is_cut

# Plain media containers only: a playlist (hls, concat, dash) could name other files or addresses.
FORMATS = "mov,avi,matroska,mpegts,mpeg,flv,asf,ogg,gif"
# How such files begin, the box name of mov and the sync byte of .m2ts from byte 4 on.
BEGINNINGS = (b"RIFF", b"\x1a\x45\xdf\xa3", b"\x47", b"\0\0\1", b"FLV", b"\x30\x26\xb2\x75", b"OggS", b"GIF8")
FIFTH_ON = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"\x47")
MAX_PIXELS = 8192 * 4608
MAX_FRAMES = 2**22
# A title in another encoding is no reason not to open a file. PyAV 19 has no such flag, and reads it somehow.
TOLERANT: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}

PathLike = str | os.PathLike[str]
Ints = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@contextmanager
def open_video(path: PathLike) -> Iterator[tuple[Any, Any]]:
    """Open a file and yield its container and first video stream that is not a cover picture.

    Raises:
        ClipError: whatever fails, here and in the block; one reason for each cause: no such file, not a regular file
            (a fifo or a device is not opened: it might wait for ever), empty, text, of an unknown container, without
            a video stream, too large, or damaged.
    """
    try:
        _check_regular_file(path)
        limit = {"max_pixels": str(MAX_PIXELS)}
        rules = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
        url = "file:" + os.path.abspath(path)
        with av.open(url, options=limit, container_options=rules, **TOLERANT) as container:
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
    if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
        size = f"{stream.codec_context.width}x{stream.codec_context.height}"
        raise ClipError(path, f"too large: frames of {size}, more than {MAX_PIXELS} pixels")
    return stream


def _reason(path: PathLike, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if not isinstance(error, av.FFmpegError):
        return getattr(error, "strerror", None) or f"damaged: {type(error).__name__}: {error}"
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError) and (head := _head(path)):
        if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
            return f"not a video but text, beginning with {head.decode('ascii')!r}"
        if not head.startswith(BEGINNINGS) and not head[4:].startswith(FIFTH_ON):
            return f"unknown container, none of {FORMATS.replace(',', ', ')}"
    if isinstance(error, av.error.ArgumentError):  # what a decoder says to `max_pixels`
        return f"too large: frames of more than {MAX_PIXELS} pixels, or damaged: {error.strerror}"
    return f"damaged: {error.strerror}"


def _head(path: PathLike) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(48)
    except OSError:
        return b""


class Orientation(NamedTuple):
    """How the picture as coded is placed: rows made columns first, then mirrored left to right, and upside down."""

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    def place(self, image: Pixels) -> Pixels:
        """Return a view of an image (H, W) as it is shown."""
        image = image.T if self.transposed else image
        return image[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1]


def orientation_of(frame: Any) -> Orientation:
    """Read the display matrix of a frame, rounded to one of the eight orientations."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    # Of 3 x 3 numbers, by rows: x, y as coded are shown at a x + c y, b x + d y.
    a, b, _, c, d = struct.unpack("=5i", bytes(data)[:20])
    transposed = abs(b) > abs(a)
    return Orientation(transposed, (c if transposed else a) < 0, (b if transposed else d) < 0)


@dataclass(frozen=True)
class Timeline:
    """The frames of a file in the order in which they are shown.

    `keys` is how the decoder's frames are recognized: by presentation time stamp or, where `counted`, by their
    number. `seconds` is the time of each from the first one on. `height` and `width` are as coded; for display
    pixels are `aspect` wide to 1 high, and then placed as `orientation` says. `pictures` is a folder of frames.
    """

    path: str
    height: int
    width: int
    aspect: float
    orientation: Orientation
    counted: bool
    keys: Ints
    seconds: npt.NDArray[np.float64]
    pictures: bool = False

    @property
    def interval(self) -> float:
        """Median time from one frame to the next, in seconds."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 0.04

    @property
    def key_interval(self) -> float:
        """Median difference between the keys of neighboring frames."""
        return float(np.median(np.diff(self.keys))) if len(self.keys) > 1 else 0.0


def status_of(path: PathLike) -> os.stat_result:
    """Return the status of a file; ClipError where there is none."""
    try:
        return os.stat(path)
    except (OSError, ValueError) as error:
        raise ClipError(path, _reason(path, error)) from error


@lru_cache(maxsize=4096)
def file_timeline(path: str, mtime_ns: int, size: int) -> Timeline:
    """Find when each frame is shown: from the packets and one decoded frame, where the container has times."""
    with open_video(path) as (container, stream):
        # AVI has no presentation times: with B-frames the ones made up from its packets are out of order.
        counted = container.format.name == "avi"
        seen = _Pass(path)
        stamps = seen.run(container, stream, every_frame=counted)
        _check_whole(path, container, stream, seen.packets)
        if seen.first is None or len(stamps) == 0:
            raise ClipError(path, "no video frame in it can be decoded")
        aspect = float(stream.sample_aspect_ratio or 1)
        keys = np.arange(len(stamps)) if counted else stamps
        in_order = bool((np.diff(stamps) > 0).all())
        seconds = (stamps - stamps[0]) * float(stream.time_base) if in_order else keys / float(stream.average_rate)
        return Timeline(
            path=path,
            height=seen.first.height,
            width=seen.first.width,
            aspect=aspect if 0.25 <= aspect <= 4 else 1.0,
            orientation=orientation_of(seen.first),
            counted=counted,
            keys=keys,
            seconds=seconds,
        )


def _check_whole(path: str, container: Any, stream: Any, packets: int) -> None:
    # The samples of mp4 are a table; what other headers announce is no count of frames (see `is_cut`).
    name = container.format.name
    if name.startswith("mov") and packets < stream.frames:
        raise ClipError(path, f"truncated: {packets} of the {stream.frames} frames that its header announces")
    if is_cut(path, name, raw_sound=any(one.codec_context.name.startswith("pcm") for one in container.streams.audio)):
        raise ClipError(path, f"truncated: its end is missing, {packets} packets of video are there")


@dataclass
class _Pass:
    """One pass over the packets of a file: counts them and keeps the first frame."""

    path: str
    packets: int = 0
    first: Any = None

    def run(self, container: Any, stream: Any, *, every_frame: bool) -> Ints:
        """Return the time stamps of all decoded frames as they come, or else of the packets, sorted.

        Of interlaced video every frame is decoded: a packet may hold one of its two fields.
        """
        frames: list[int] = []
        packets: list[int] = []
        for packet in container.demux(stream):
            self.packets += packet.size > 0
            stamp = packet.dts if packet.pts is None else packet.pts
            if _is_shown(packet, stream) and stamp is not None:
                packets.append(stamp)
            if every_frame or self.first is None or self.first.interlaced_frame:
                for frame in packet.decode():
                    self.first = self.first or frame
                    if frame.pts is not None or every_frame:
                        frames.append(frame.pts or 0)
            if self.packets > MAX_FRAMES:
                raise ClipError(self.path, f"more than {MAX_FRAMES} frames")
        if every_frame:
            return np.asarray(frames, np.int64)
        fields = self.first is not None and self.first.interlaced_frame
        return np.unique(np.asarray(frames if fields else packets, np.int64))


def _is_shown(packet: Any, stream: Any) -> bool:
    if packet.size == 0 or packet.is_discard:
        return False
    # A frame of VP8 that only others are predicted from says so in its first byte.
    return stream.codec_context.name not in ("vp8", "libvpx") or bool(memoryview(packet)[0] & 16)
