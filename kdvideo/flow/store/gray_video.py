"""Gray video files (Matroska) of 8-bit pictures, of which any run can be read by itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from kdvideo._extras import needed

# Matroska counts milliseconds: at this rate, whatever that of the clip, picture k is at 40 k exactly.
RATE, STEP = 25, 40
NARROWEST = 2  # encoders refuse narrower pictures, which are padded


@contextmanager
def writer(
    file: BinaryIO, codec: str, size: tuple[int, int], *, gop: int, options: Mapping[str, str]
) -> Iterator[Callable[[Tensor], None]]:
    """Yield a function that appends pictures (N,H,W) uint8 to a new video; equal pictures give equal bytes.

    Args:
        file: open for writing.
        codec: the name of one of FFmpeg's encoders of gray video.
        size: (H, W) of the pictures.
        gop: pictures from one that is coded by itself to the next; with 1 all of them are.
        options: of the encoder.
    """
    with needed("flow in videos"):
        import av

    with av.open(file, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream(codec, rate=RATE, options=dict(options))
        stream.height, stream.width, stream.pix_fmt = size[0], max(size[1], NARROWEST), "gray"
        context = stream.codec_context
        # Slices of several threads would make the bytes depend on the machine.
        context.gop_size, context.thread_count, context.thread_type = gop, 1, "NONE"
        context.flags |= av.codec.context.Flags.bitexact
        container.start_encoding()
        count = 0

        def add(pictures: Tensor) -> None:
            nonlocal count
            for picture in _pad(pictures, size).numpy():
                frame = av.VideoFrame.from_ndarray(picture, "gray")
                frame.pts = count
                container.mux(stream.encode(frame))
                count += 1

        yield add
        container.mux(stream.encode(None))


def _pad(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(pictures.shape[-2:]) != size:
        raise ValueError(f"pictures must be {size}, got {tuple(pictures.shape[-2:])}")
    missing = max(NARROWEST - size[1], 0)
    return torch.nn.functional.pad(pictures, (0, missing)).contiguous()


def read(path: Path, window: range, size: tuple[int, int]) -> Tensor:
    """Read pictures `window` (N,H,W) uint8 of a file that `writer` made.

    Raises:
        ValueError: the file is damaged, its pictures have another size, or some are missing.
    """
    out = torch.empty(len(window), *size, dtype=torch.uint8)
    if len(window) == 0:
        return out
    try:
        with _open(path) as (container, stream):
            _fill(out, container, stream, window)
    except Exception as error:  # damaged files make a decoder raise five and more classes
        raise ValueError(f"{path} is not a readable flow file: {error}") from error
    return out


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    with needed("flow in videos"):
        import av

    if not stat.S_ISREG(os.stat(path).st_mode):
        raise LookupError("it must be a regular file")
    # A damaged or foreign file must not make the decoder open other files or addresses, as playlists do.
    rules = {"protocol_whitelist": "file", "format_whitelist": "matroska"}
    with av.open("file:" + os.path.abspath(path), container_options=rules) as container:
        if len(container.streams) != 1 or not container.streams.video:
            raise LookupError("it must hold one video stream and nothing else")
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        yield container, stream


def _fill(out: Tensor, container: Any, stream: Any, window: range) -> None:
    """Decode pictures `window`, one after the other, into `out`."""
    if window.start:
        container.seek(window.start * STEP, stream=stream)  # to the last picture coded by itself up to there
    wanted = window.start
    for frame in container.decode(stream):
        if round(float(frame.pts * frame.time_base) * RATE) == wanted:
            out[wanted - window.start] = _plane(frame, tuple(out.shape[1:]))
            wanted += 1
        if wanted == window.stop:
            return
    raise LookupError(f"picture {wanted} is missing")


def _plane(frame: Any, size: tuple[int, ...]) -> Tensor:
    """Return the brightness of a frame: H.264 decodes gray pictures to the first of three planes."""
    if (frame.height, frame.width) != (size[0], max(size[1], NARROWEST)):
        raise LookupError(f"its pictures must be {size}, got {(frame.height, frame.width)}")
    plane = frame.planes[0]
    rows = torch.frombuffer(memoryview(plane), dtype=torch.uint8).reshape(-1, plane.line_size)
    return rows[: size[0], : size[1]]  # the decoder pads the rows of a plane
