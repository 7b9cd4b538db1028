"""Optical flow estimators behind one interface: TV-L1, DIS (OpenCV) and RAFT (torchvision).

A network trained on the flow of one estimator is worse on another's: every estimator has a `fingerprint`, a
text that is stored with flow, caches and weights and compared when they are used.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from kdvideo.flow.tvl1.backends import Backend
from kdvideo.flow.tvl1.estimate import tvl1
from kdvideo.flow.tvl1.presets import DEFAULT, TVL1


class FlowEstimator(Protocol):
    """Anything that computes the flow of a clip and can say what it is."""

    @property
    def fingerprint(self) -> str:
        """Everything that decides the numbers, as one line of text."""
        ...

    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        """Flow (T-1,2,H,W) of a clip (T,3,H,W), or (B,T-1,2,H,W) of (B,T,3,H,W): float32 pixels, u first.

        `value_range` is (black, white) of floating point frames; uint8 frames need none.
        """
        ...


class TVL1Estimator:
    """`tvl1` as a `FlowEstimator`.

    Arguments:
        preset: the settings; they are the fingerprint.
        backend: as in `tvl1`; backends agree up to rounding and are not part of the fingerprint.

    Examples:
        >>> TVL1Estimator().fingerprint.startswith("TVL1(tau=0.25")
        True
    """

    def __init__(self, preset: TVL1 = DEFAULT, *, backend: Backend = "auto") -> None:
        self.preset, self.backend = preset, backend

    @property
    def fingerprint(self) -> str:
        """The settings as text."""
        return str(self.preset)

    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        """The flow of clips, see `FlowEstimator`."""
        return tvl1(frames, preset=self.preset, value_range=value_range, backend=self.backend)
