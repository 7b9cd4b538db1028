"""The interface of flow sources, and the source that computes flow from the frames."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from kdvideo._hints import represented
from kdvideo.flow.estimators.estimator import FlowEstimator, estimator_of
from kdvideo.flow.fields.quantize import dequantize, quantize
from kdvideo.flow.fields.transforms import check_bound


class FlowSource(Protocol):
    """Anything that gives the flow of a clip: `FlowStore`, `EstimatorSource` or one's own function.

    Examples:
        >>> def still(clip_id, frames):
        ...     return torch.zeros(len(frames) - 1, 2, *frames.shape[-2:])
        >>> still("run.mp4", torch.zeros(5, 3, 24, 32, dtype=torch.uint8)).shape
        torch.Size([4, 2, 24, 32])
    """

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """Give the flow of a clip; flow t leads from frame t to frame t + 1.

        Args:
            clip_id: the clip.
            frames: (T,3,H,W), uint8 RGB.

        Returns:
            (T-1,2,H,W), float32 pixels, u first.
        """
        ...


class EstimatorSource:
    """A `FlowSource` that computes the flow from the frames when it is asked for, without a store.

    Args:
        estimator: what computes it; the default is TV-L1.
        bound: in pixels, rounds the flow to 8 bit as a `FlowStore` with this bound does; None: no rounding.

    Raises:
        ValueError: the estimator is none, or the bound not positive.

    Examples:
        >>> import torch
        >>> EstimatorSource()("any", torch.zeros(5, 3, 24, 24, dtype=torch.uint8)).shape
        torch.Size([4, 2, 24, 24])
    """

    def __init__(self, estimator: FlowEstimator | None = None, *, bound: float | None = None) -> None:
        if bound is not None:
            check_bound(bound)
        self.estimator, self.bound = estimator_of(estimator), bound

    def __repr__(self) -> str:
        return represented(self, estimator=self.estimator, bound=self.bound)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the estimator."""
        return self.estimator.fingerprint

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """Compute the flow of a clip.

        Args:
            clip_id: the clip, for messages.
            frames: (T,3,H,W), uint8 RGB.

        Returns:
            (T-1,2,H,W), float32 pixels, on the device of the frames.

        Raises:
            ValueError: the estimator cannot use the frames (the message names the clip).
        """
        if len(frames) == 1:
            return frames.new_zeros((0, 2, *frames.shape[-2:]), dtype=torch.float32)
        try:
            flow = self.estimator(frames)
        except ValueError as error:
            raise ValueError(f"clip {clip_id!r}: {error}") from error
        return flow if self.bound is None else dequantize(quantize(flow, self.bound), self.bound)
