"""Where a decoded frame goes: converted, resized, turned, and the wanted part of it put in its place.

Legend: T frames, H W space. Frames are uint8 (T, 3, H, W), RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter

from kdvideo.data.video.container import Ints, Orientation

# ACCURATE_RND: without it frames that need no resize come out one grey level too dark.
SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND


class Box(NamedTuple):
    """A part of frames: `height` x `width` pixels from (`top`, `left`) on."""

    top: int
    left: int
    height: int
    width: int


@dataclass
class Place:
    """Where frames go as RGB: `out` (T, 3, box), of frames of `height` x `width` as they are shown."""

    out: npt.NDArray[np.uint8]
    height: int
    width: int
    orientation: Orientation
    box: Box
    convert: VideoReformatter = field(default_factory=VideoReformatter)

    def put(self, frame: Any, slots: Ints) -> None:
        """Resize a frame and put the box of it into each of the slots."""
        coded = (self.height, self.width) if self.orientation.transposed else (self.width, self.height)
        # threads=1: swscale's own threads would be missing, and waited for, in a forked worker.
        planar = self.convert.reformat(frame, *coded, "gbrp", interpolation=SCALING, threads=1)
        first, (top, left, height, width) = self.out[slots[0]], self.box
        for plane, channel in zip(planar.planes, (1, 2, 0), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            shown = self.orientation.place(rows[: coded[1], : coded[0]])
            first[channel] = shown[top : top + height, left : left + width]
        self.out[slots[1:]] = first
