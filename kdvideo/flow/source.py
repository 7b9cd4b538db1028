"""Where the flow of a clip comes from: a store, or the frames themselves."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from kdvideo.flow.estimate import tvl1
from kdvideo.flow.presets import DEFAULT, TVL1


class FlowSource(Protocol):
    """Anything that gives the flow of a clip: `FlowStore`, `OnTheFly` or one's own function."""

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """Flow (T-1,2,H,W) float32 in pixels of frames (T,3,H,W) uint8; flow t leads to frame t + 1."""
        ...


class OnTheFly:
    """Computes flow from the frames when it is asked for: a `FlowSource` without a store.

    Arguments:
        preset: the TV-L1 settings.

    >>> import torch
    >>> OnTheFly()("any", torch.zeros(5, 3, 24, 24, dtype=torch.uint8)).shape
    torch.Size([4, 2, 24, 24])
    """

    def __init__(self, preset: TVL1 = DEFAULT) -> None:
        self.preset = preset

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """Flow (T-1,2,H,W) of frames (T,3,H,W), on their device. Raises ValueError naming the clip."""
        try:
            return tvl1(frames[:-1], frames[1:], preset=self.preset)
        except ValueError as error:
            raise ValueError(f"clip {clip_id!r}: {error}") from error
