"""Where the flow of a clip comes from: a store, or the frames themselves."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from kdvideo.flow.estimators.estimator import FlowEstimator, TVL1Estimator


class FlowSource(Protocol):
    """Anything that gives the flow of a clip: `FlowStore`, `EstimatorSource` or one's own function."""

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """Flow (T-1,2,H,W) float32 in pixels of frames (T,3,H,W) uint8; flow t leads to frame t + 1."""
        ...


class EstimatorSource:
    """Computes flow from the frames when it is asked for: a `FlowSource` without a store.

    Arguments:
        estimator: what computes it; the default is TV-L1.

    Examples:
        >>> import torch
        >>> EstimatorSource()("any", torch.zeros(5, 3, 24, 24, dtype=torch.uint8)).shape
        torch.Size([4, 2, 24, 24])
    """

    def __init__(self, estimator: FlowEstimator | None = None) -> None:
        self.estimator = TVL1Estimator() if estimator is None else estimator

    @property
    def fingerprint(self) -> str:
        """That of the estimator."""
        return self.estimator.fingerprint

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """Flow (T-1,2,H,W) of frames (T,3,H,W), on their device. Raises ValueError naming the clip."""
        if len(frames) == 1:  # nothing moves in a single frame
            return frames.new_zeros((0, 2, *frames.shape[-2:]), dtype=torch.float32)
        try:
            return self.estimator(frames)
        except ValueError as error:
            raise ValueError(f"clip {clip_id!r}: {error}") from error
