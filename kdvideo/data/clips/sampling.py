"""Which frames, which crop, mirrored or not: views of a clip as pure functions of numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

VIEW_VERSION = 1  # raise it when a function below gives other views: caches of views are void then


@dataclass(frozen=True)
class View:
    """A window of frames from `start` on, a square of `crop` pixels at (`top`, `left`), mirrored or not."""

    start: int
    top: int
    left: int
    crop: int
    flip: bool

    def cut(self, frames: Tensor, positions: Tensor) -> Tensor:
        """(L, C, H, W) at the T positions -> (C, T, crop, crop); mirrored flow has yet to be negated in u."""
        part = frames[..., self.top : self.top + self.crop, self.left : self.left + self.crop]
        first = int(positions[0])
        if int(positions[-1]) - first == len(positions) - 1:  # a plain run of frames: no copy of them
            part = part[first : first + len(positions)]
        else:
            part = part[positions]
        part = part.transpose(0, 1)
        return part.flip(-1) if self.flip else part


def random_view(
    seed: int,
    epoch: int,
    index: int,
    length: int,
    frames: int,
    height: int,
    width: int,
    crop: int,
    *,
    flip: bool,
) -> View:
    """A view drawn uniformly; a function of its arguments alone."""
    key = np.array([seed % 2**64, epoch % 2**64], np.uint64)
    bits = np.random.Philox(key=key, counter=np.array([0, 0, 0, index], np.uint64))
    start, top, left, mirror = np.random.Generator(bits).random(4)
    return View(
        int(start * (max(length - frames, 0) + 1)),
        int(top * (height - crop + 1)),
        int(left * (width - crop + 1)),
        crop,
        bool(flip and mirror < 0.5),
    )


def even_view(view: int, views: int, length: int, frames: int, height: int, width: int, crop: int) -> View:
    """View number `view` of `views` whose windows are spread evenly over the clip: centre crop, not mirrored."""
    spare = max(length - frames, 0)
    start = spare // 2 if views == 1 else round(spare * view / (views - 1))
    return View(start, (height - crop) // 2, (width - crop) // 2, crop, False)


def window_positions(start: int, frames: int, length: int) -> Tensor:
    """The grid frame of each position of a window; a clip shorter than the window starts over."""
    return torch.arange(start, start + frames) % length


def flow_positions(positions: Tensor, length: int) -> Tensor:
    """The flow of each window position: from its grid frame to the next; the last frame takes the one before it."""
    return positions.clamp(max=max(length - 2, 0))
