"""Which frames a view shows, which crop, mirrored or not: pure functions of the size of the clip.

Legend: L grid frames of a clip, C channels, T frames of a window, H W space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kdvideo.data.video.frame_grid import ClipInfo

VIEW_VERSION = 1  # raise it when a function below gives other views: caches of views are void then


@dataclass(frozen=True)
class Window:
    """A view of a clip: `frames` frames from `start` on, cut to `crop` x `crop` pixels at (`top`, `left`).

    A clip shorter than the window starts over.

    Args:
        start: number of the first frame.
        top: of the crop, in pixels.
        left: of the crop, in pixels.
        crop: height and width of the view, in pixels.
        flip: whether the view is mirrored.
        frames: T.

    Examples:
        >>> window = Window(start=2, top=4, left=8, crop=24, flip=False, frames=4)
        >>> clip = torch.zeros(9, 3, 32, 48)
        >>> window.cut(clip, torch.arange(2, 6)).shape
        torch.Size([3, 4, 24, 24])
    """

    start: int
    top: int
    left: int
    crop: int
    flip: bool
    frames: int

    def cut(self, frames: Tensor, positions: Tensor) -> Tensor:
        """Cut the view from frames, or other values on pixels; of mirrored flow u is not negated here.

        Args:
            frames: (L, C, H, W).
            positions: the T rows of it that the view shows, (T,).

        Returns:
            (C, T, crop, crop); a view of the memory of `frames` where the rows are consecutive and nothing is
            mirrored.
        """
        part = frames[..., self.top : self.top + self.crop, self.left : self.left + self.crop]
        first = int(positions[0])
        if int(positions[-1]) - first == len(positions) - 1:  # a plain run of frames: no copy of them
            part = part[first : first + len(positions)]
        else:
            part = part[positions]
        part = part.transpose(0, 1)
        return part.flip(-1) if self.flip else part


def random_view(info: ClipInfo, frames: int, crop: int, *, seed: int, epoch: int, index: int, flip: bool) -> Window:
    """Draw a view uniformly, as a function of the arguments alone."""
    key = np.array([seed % 2**64, epoch % 2**64], np.uint64)
    bits = np.random.Philox(key=key, counter=np.array([0, 0, 0, index], np.uint64))
    start, top, left, mirror = np.random.Generator(bits).random(4)
    return Window(
        int(start * (max(info.length - frames, 0) + 1)),
        int(top * (info.height - crop + 1)),
        int(left * (info.width - crop + 1)),
        crop,
        bool(flip and mirror < 0.5),
        frames,
    )


def even_view(info: ClipInfo, frames: int, crop: int, *, view: int, views: int) -> Window:
    """Return view number `view` of `views` that are spread evenly over the clip: center crop, not mirrored."""
    start = spread(max(info.length - frames, 0), views)[view]
    return Window(start, (info.height - crop) // 2, (info.width - crop) // 2, crop, False, frames)


def spread(last: int, count: int) -> list[int]:
    """Return `count` whole numbers spread evenly from 0 to `last`; one alone is in the middle."""
    return [last // 2] if count == 1 else [round(last * k / (count - 1)) for k in range(count)]


def window_positions(start: int, frames: int, length: int) -> Tensor:
    """Return the grid frame of each position of a window, (T,); a clip shorter than the window starts over."""
    return torch.arange(start, start + frames) % length


def flow_positions(positions: Tensor, length: int) -> Tensor:
    """Return the number of the flow of each position, (T,): from its grid frame to the next.

    The last frame of the clip takes the flow before it.
    """
    return positions.clamp(max=max(length - 2, 0))
