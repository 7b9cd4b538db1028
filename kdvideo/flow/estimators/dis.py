"""DIS optical flow, computed by OpenCV."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from kdvideo._hints import represented
from kdvideo.flow.frames import as_clips, to_gray

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
        _opencv()

    def __repr__(self) -> str:
        return represented(self, quality=self.quality)

    @property
    def fingerprint(self) -> str:
        """The settings as text."""
        return f"DIS(quality={self.quality!r})"

    @torch.no_grad()
    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        """Compute the flow of clips, see `FlowEstimator`."""
        gray = to_gray(as_clips(frames), value_range).round().clamp(0, 255).byte().cpu()
        batch, count, height, width = gray.shape
        if min(height, width) < SMALLEST:
            raise ValueError(f"frames for DIS must have at least {SMALLEST} pixels a side, got {height}x{width}")
        first, second = gray[:, :-1].flatten(0, 1).numpy(), gray[:, 1:].flatten(0, 1).numpy()
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            found = [torch.from_numpy(f) for f in pool.map(self._solve, first, second)]
        flow = torch.stack(found).view(batch, count - 1, height, width, 2).permute(0, 1, 4, 2, 3).contiguous()
        return (flow if frames.ndim == 5 else flow[0]).to(frames.device)

    def _solve(self, first: Any, second: Any) -> Any:
        cv2 = _opencv()
        # A solver for each pair: its buffers would be shared between the threads.
        return cv2.DISOpticalFlow_create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{self.quality.upper()}")).calc(
            first, second, None
        )


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ValueError("DIS needs OpenCV: pip install opencv-contrib-python-headless") from error
    return cv2
