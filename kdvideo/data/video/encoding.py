"""Writing of H.264 videos, the same bytes on every run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, BinaryIO

import av
from torch import Tensor


def write_h264(
    file: str | os.PathLike[str] | BinaryIO,
    frames: Iterable[Tensor],
    *,
    fps: float,
    options: Mapping[str, str],
    container_options: Mapping[str, str] | None = None,
) -> None:
    """Write frames as an mp4 file of one H.264 stream.

    Args:
        file: path, or file that is open for writing.
        frames: (3, H, W) uint8, RGB, H and W even.
        fps: frames per second.
        options: of the encoder x264, such as `{"crf": "18", "preset": "fast"}`.
        container_options: of the mp4 file.
    """
    target: Any = os.fspath(file) if isinstance(file, (str, os.PathLike)) else file
    with av.open(target, "w", format="mp4", options=dict(container_options or {})) as container:
        stream: Any = None
        for frame in frames:
            if stream is None:
                # One thread, and no mbtree, which is not deterministic.
                rate = Fraction(fps).limit_denominator(1001)
                stream = container.add_stream("libx264", rate=rate, options={**options, "mbtree": "0"})
                stream.height, stream.width, stream.pix_fmt = *frame.shape[-2:], "yuv420p"
                stream.thread_count = 1
            image = frame.permute(1, 2, 0).contiguous().numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
