"""Where a decoded frame goes: converted, resized, turned, and the wanted part of it put in its place.

Legend: T frames, H W space. Frames are uint8 (T, 3, H, W), RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from av.filter import Graph
from av.video.reformatter import Interpolation, VideoReformatter

from kdvideo.data.video.container import Ints, Orientation, Pixels

# ACCURATE_RND: without it frames that need no resize come out one grey level too dark.
SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
MARGIN = 8  # pixels; a colour sample is two wide, and bilinear reads the next one


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
    crops: dict[str, Graph] = field(default_factory=dict)

    def put(self, frame: Any, slots: Ints) -> None:
        """Resize a frame and put the box of it into each of the slots."""
        coded, box = (self.height, self.width) if self.orientation.transposed else (self.width, self.height), self.box
        if self.orientation == Orientation() and coded == (frame.width, frame.height):
            frame, box = self._cut(frame)
            coded = (frame.width, frame.height)
        # threads=1: swscale's own threads would be missing, and waited for, in a forked worker.
        planar = self.convert.reformat(frame, *coded, "gbrp", interpolation=SCALING, threads=1)
        first, (top, left, height, width) = self.out[slots[0]], box
        for plane, channel in zip(planar.planes, (1, 2, 0), strict=True):
            shown = self.orientation.place(_pixels(plane)[: coded[1], : coded[0]])
            first[channel] = shown[top : top + height, left : left + width]
        self.out[slots[1:]] = first

    def _cut(self, frame: Any) -> tuple[Any, Box]:
        """Return the part of a 4:2:0 frame from which the box is converted, and where the box is in it.

        A random crop is half of a frame, and converting the other half is a tenth of the time of reading. The bytes
        stay those of the whole frame: color samples lie on even pixels, and `MARGIN` holds all that a pixel reads.
        """
        box, name = self.box, frame.format.name
        top, left = (max(first - MARGIN, 0) // 2 * 2 for first in (box.top, box.left))
        height = min((box.top + box.height + MARGIN + 1) // 2 * 2, frame.height) - top
        width = min((box.left + box.width + MARGIN + 1) // 2 * 2, frame.width) - left
        odd, whole = frame.width % 2 or frame.height % 2, (height, width) == (frame.height, frame.width)
        if name not in ("yuv420p", "yuvj420p") or odd or whole:
            return frame, box
        if name not in self.crops:
            self.crops[name] = _crop(frame, Box(top, left, height, width))
        self.crops[name].push(frame)
        return self.crops[name].pull(), box._replace(top=box.top - top, left=box.left - left)


def _crop(frame: Any, part: Box) -> Graph:
    """Return FFmpeg's filter that crops such frames: it copies nothing, and keeps where their color samples lie."""
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    graph.link_nodes(
        source, graph.add("crop", f"{part.width}:{part.height}:{part.left}:{part.top}"), graph.add("buffersink")
    )
    graph.configure()
    return graph


def _pixels(plane: Any) -> Pixels:
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
