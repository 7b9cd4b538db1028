"""Tiny video files, written when the tests run, whose every frame shows its own number."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

HEIGHT, WIDTH = 48, 64


def picture(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(H, W, 3): eight upright bars, dark or bright by the bits of `number`; red on top, blue below."""
    bits = [(number >> i) & 1 for i in range(8)]
    row = np.repeat(bits, -(-width // 8))[:width] * 170 + 40
    image = np.broadcast_to(row[None, :, None], (height, width, 3)).astype(np.uint8).copy()
    image[: height // 8] = (255, 0, 0)
    image[-(height // 8) :] = (0, 0, 255)
    return image


def numbers(frames: Tensor) -> list[int]:
    """What `picture` was asked for, read back from uint8 (T, 3, H, W)."""
    height, width = frames.shape[-2:]
    middle = frames[:, :, height // 3 : -height // 3].float().mean((1, 2))
    columns = [int((i + 0.5) * width / 8) for i in range(8)]
    return [(sum(int(row[c] > 125) << i for i, c in enumerate(columns))) for row in middle]


def write_video(
    path: str | os.PathLike[str],
    frames: int | Sequence[np.ndarray] = 20,
    *,
    codec: str = "libx264",
    rate: int = 10,
    stamps: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    aspect: Fraction | None = None,
    fmt: str | None = None,
    streams: int = 1,
    container_options: dict[str, str] | None = None,
) -> None:
    images = [picture(i) for i in range(frames)] if isinstance(frames, int) else list(frames)
    base = time_base or Fraction(1, rate)
    with av.open(os.fspath(path), "w", format=fmt, options=container_options or {}) as container:
        outs = []
        for _ in range(streams):
            out: Any = container.add_stream(codec, rate=rate, options={"threads": "1", **(options or {})})
            out.height, out.width = images[0].shape[:2]
            out.pix_fmt, out.codec_context.time_base = pix_fmt, base
            if rotation is not None:
                out.set_display_rotation(rotation)
            if aspect is not None:
                out.codec_context.sample_aspect_ratio = aspect
            outs.append(out)
        for i, image in enumerate(images):
            for which, out in enumerate(outs):
                frame = av.VideoFrame.from_ndarray(image if which == 0 else 255 - image, "rgb24")
                frame.pts, frame.time_base = (i if stamps is None else stamps[i]), base
                container.mux(out.encode(frame))
        for out in outs:
            container.mux(out.encode(None))


def write_audio(path: str | os.PathLike[str], *, cover: bool = False) -> None:
    with av.open(os.fspath(path), "w") as container:
        out = container.add_stream("aac", rate=8000)
        if cover:
            art: Any = container.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic
            container.mux(art.encode(av.VideoFrame.from_ndarray(picture(1), "rgb24")))
            container.mux(art.encode(None))
        for i in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 8000, 1024 * i
            container.mux(out.encode(frame))
        container.mux(out.encode(None))


def gradient(height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    """(H, W, 3) uint8 whose red grows to the right and green downwards: shows crops, turns and mirroring."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x * 255 // width, y * 255 // height, torch.full_like(x, 60)], -1).to(torch.uint8)


def hide(path: Path, which: Iterable[int]) -> None:
    """Clear, in packets of VP8, the bit that says that their frame is shown."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in which:
        data[data.index(packets[number])] &= ~16
    path.write_bytes(data)
