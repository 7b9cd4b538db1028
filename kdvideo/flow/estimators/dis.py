"""DIS optical flow, computed by OpenCV."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from kdvideo._hints import represented
from kdvideo.flow.estimators.by_pairs import by_opencv, check_size, opencv

Quality = Literal["ultrafast", "fast", "medium"]
SMALLEST = 12


class DISEstimator:
    """OpenCV's dense inverse search as a `FlowEstimator`: fast, and less exact than TV-L1.

    It runs on the CPU, on `torch.get_num_threads()` threads over the pairs.

    Args:
        quality: "ultrafast", "fast" or "medium": OpenCV's settings of that name.

    Raises:
        ValueError: an unknown quality, or OpenCV is missing; when called, bad frames as in `tvl1`, or frames
            of less than 12 pixels a side.

    Examples:
        >>> DISEstimator().fingerprint
        "DIS(quality='medium')"

    Source:
        T. Kroeger, R. Timofte, D. Dai, L. Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016,
        arXiv 1603.03590.
    """

    def __init__(self, quality: Quality = "medium") -> None:
        if quality not in get_args(Quality):
            raise ValueError(f"quality must be one of {list(get_args(Quality))}, got {quality!r}")
        self.quality = quality
        opencv("DIS")

    def __repr__(self) -> str:
        return represented(self, quality=self.quality)

    @property
    def fingerprint(self) -> str:
        """The settings as text."""
        return f"DIS(quality={self.quality!r})"

    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        """Compute the flow of clips, see `FlowEstimator.__call__`."""
        check_size(frames, SMALLEST, "DIS")
        return by_opencv(self._solve, frames, value_range, threads=torch.get_num_threads())

    def _solve(self, first: Any, second: Any) -> Any:
        cv2 = opencv("DIS")
        # A solver for each pair: its buffers would be shared between the threads.
        return cv2.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.quality.upper()}")).calc(
            first, second, None
        )
