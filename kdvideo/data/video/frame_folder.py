"""Folders of numbered pictures read as the frames of a clip."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import av
import numpy as np

from kdvideo.data.video.container import MAX_PIXELS, Ints, Orientation, Timeline
from kdvideo.data.video.errors import ClipError
from kdvideo.data.video.frame_names import frame_names, frame_number

RATE = 25.0  # pictures hold no times


@lru_cache(maxsize=4096)
def folder_timeline(path: str, mtime_ns: int, size: int) -> Timeline:
    """Return when each picture of a folder is shown: one after the other, at 25 a second.

    Raises:
        ClipError: the folder holds no frames, or a number is missing among them.
    """
    del mtime_ns, size  # of the key
    names = _names(path)
    if not names:
        raise ClipError(path, "not a regular file but a folder, and not of frames: numbered jpg or png files")
    first, last = (frame_number(name) for name in (names[0], names[-1]))
    if last - first != len(names) - 1:
        raise ClipError(path, f"frames {first} to {last} must all be there, got {len(names)} of them")
    height, width = _picture(os.path.join(path, names[0])).shape[:2]
    keys = np.arange(len(names))
    return Timeline(path, height, width, 1.0, Orientation(), True, keys, keys / RATE, pictures=True)


def folder_frames(line: Timeline, wanted: Ints) -> Iterator[tuple[int, Any]]:
    """Yield the wanted pictures of a folder, with their numbers from 0 on."""
    names = _names(line.path)
    for number in sorted(set(wanted.tolist())):
        image = _picture(os.path.join(line.path, names[number]))
        if image.shape[:2] != (line.height, line.width):
            size = f"{image.shape[1]}x{image.shape[0]}"
            raise ClipError(line.path, f"{names[number]} has {size} pixels, the first {line.width}x{line.height}")
        yield number, av.VideoFrame.from_ndarray(image, "rgb24")


def _names(path: str) -> list[str]:
    try:
        return frame_names(os.listdir(path))
    except OSError as error:
        raise ClipError(path, error.strerror or "cannot be listed") from error


def _picture(path: str) -> Any:
    """Read a picture as RGB (H, W, 3) uint8."""
    from PIL import Image

    folder, name = os.path.split(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ClipError(folder, f"{name} is not a regular file")
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ClipError(
                    folder, f"{name} is too large: {image.width}x{image.height}, more than {MAX_PIXELS} pixels"
                )
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ClipError(folder, f"{name} is not a readable picture: {error}") from error
