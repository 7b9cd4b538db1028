"""Optical flow by the circuit for it in NVIDIA's GPUs, through OpenCV."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

from torch import Tensor

from kdvideo._hints import represented
from kdvideo.flow.estimators.by_pairs import by_opencv, check_size, opencv

Quality = Literal["slow", "medium", "fast"]
LEVELS = {"slow": 5, "medium": 10, "fast": 20}  # NV_OF_PERF_LEVEL_SLOW, ...
SMALLEST = 32
CLASS = "cuda_NvidiaOpticalFlow_2_0"
GRID = 1  # a vector for every pixel


class NvidiaEstimator:
    """NVIDIA's optical flow hardware as a `FlowEstimator`; it takes no time of the GPU's other units.

    The packages of OpenCV on PyPI lack it: it needs OpenCV built with CUDA and its module `cudaoptflow`. It was
    written from OpenCV's documentation and has not run on such a GPU.

    Args:
        quality: "slow", "medium" or "fast": the hardware's settings of that name; slow is the most exact.
        device: the number of the GPU.

    Raises:
        ValueError: an unknown quality; OpenCV is missing, lacks the class, or finds no GPU; when called, bad frames
            as in `tvl1`, or frames of less than 32 pixels a side.

    Examples:
        On a machine with such an OpenCV and GPU:

        >>> import torch
        >>> clip = torch.zeros(5, 3, 64, 64, dtype=torch.uint8)
        >>> NvidiaEstimator("fast")(clip).shape  # doctest: +SKIP
        torch.Size([4, 2, 64, 64])

        Anywhere:

        >>> NvidiaEstimator("exact")
        Traceback (most recent call last):
            ...
        ValueError: quality must be one of ['slow', 'medium', 'fast'], got 'exact'

    Source:
        `cv::cuda::NvidiaOpticalFlow_2_0` of OpenCV, on version 2 of NVIDIA's Optical Flow SDK.
    """

    def __init__(self, quality: Quality = "slow", *, device: int = 0) -> None:
        if quality not in get_args(Quality):
            raise ValueError(f"quality must be one of {list(get_args(Quality))}, got {quality!r}")
        self.quality, self.device = quality, device
        self._hardware()

    def __repr__(self) -> str:
        return represented(self, quality=self.quality, device=self.device)

    @property
    def fingerprint(self) -> str:
        """The settings as text."""
        return f"NvidiaOpticalFlow2(quality={self.quality!r})"

    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        """Compute the flow of clips, see `FlowEstimator.__call__`."""
        check_size(frames, SMALLEST, "NVIDIA's optical flow")
        size = (frames.shape[-1], frames.shape[-2])
        # No hints of the pair before: the flow of a pair must not hang on what else was computed.
        solver = self._hardware().create(size, LEVELS[self.quality], GRID, GRID, False, False, False, self.device)
        try:
            return by_opencv(partial(_solve, solver), frames, value_range, threads=1)
        finally:
            solver.collectGarbage()

    def _hardware(self) -> Any:
        cv2 = opencv("NVIDIA's optical flow")
        if not hasattr(cv2, CLASS):
            raise ValueError(
                f"NVIDIA's optical flow needs an OpenCV with cv2.{CLASS}, got version {cv2.__version__} without: build "
                "it with CUDA and cudaoptflow, or use DISEstimator()"
            )
        if (count := cv2.cuda.getCudaEnabledDeviceCount()) <= self.device:
            raise ValueError(f"device must be below the number of NVIDIA's GPUs, {count} here, got {self.device}")
        return getattr(cv2, CLASS)


def _solve(solver: Any, first: Any, second: Any) -> Any:
    found, _ = solver.calc(first, second, None)
    return solver.convertToFloat(found, None)
