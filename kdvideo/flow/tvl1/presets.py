"""Settings of TV-L1, and three presets of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TVL1Settings:
    """All settings of a TV-L1 solver; `dataclasses.replace(DEFAULT, warps=3)` makes new ones.

    Args:
        tau: step of the dual update, in (0, 0.25]; 0.25 is the largest that is stable.
        lambda_: weight of the data term, for images in [0, 255]. Smaller means smoother flow.
        theta: tightness of the coupling between the data term and the smoothness term.
        scales: most pyramid levels; `None` adds levels until a side would fall below `min_size`.
        scale_step: size of a level over that of the next finer one, in (0, 1).
        min_size: no level has a side below this many pixels (the frame itself may).
        warps: times the second frame is warped anew on each level.
        iterations: primal-dual iterations between two median filters.
        rounds: how often (median filter, `iterations`) is repeated per warp.
        tolerance: stop a warp once the flow's root mean square change per iteration is at most this
            many pixels; `None` always runs `iterations * rounds` (no synchronization on a GPU).
        median: side of the median filter, odd; 1 means none.
        interpolation: how frames are sampled when they are warped.
        border: what lies outside the frame: `"mask"` switches the data term off there, `"zeros"` sees
            black (OpenCV's CPU version), `"border"` repeats the edge (its CUDA version; lets flow that
            leaves the frame run away).

    Raises:
        ValueError: a setting is out of its range.

    Examples:
        >>> from dataclasses import replace
        >>> replace(DEFAULT, warps=3).warps
        3

    Source:
        C. Zach, T. Pock, H. Bischof, "A Duality Based Approach for Realtime TV-L1 Optical Flow", DAGM 2007. The
        defaults of `tau`, `lambda_`, `theta`, `scale_step`, `warps` and `iterations` are OpenCV's.
    """

    tau: float = 0.25
    lambda_: float = 0.15
    theta: float = 0.3
    scales: int | None = None
    scale_step: float = 0.8
    min_size: int = 16
    warps: int = 5
    iterations: int = 30
    rounds: int = 1
    tolerance: float | None = None
    median: int = 1
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    border: Literal["mask", "zeros", "border"] = "mask"

    def __post_init__(self) -> None:
        if not 0 < self.tau <= 0.25:
            raise ValueError(f"tau must be in (0, 0.25], got {self.tau}")
        if not 0 < self.scale_step < 1:
            raise ValueError(f"scale_step must be in (0, 1), got {self.scale_step}")
        if self.lambda_ <= 0 or self.theta <= 0:
            raise ValueError(f"lambda_ and theta must be positive, got {self.lambda_} and {self.theta}")
        counts = {"min_size": self.min_size, "warps": self.warps, "iterations": self.iterations}
        counts |= {"rounds": self.rounds, "scales": 1 if self.scales is None else self.scales}
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, got {count}")
        if self.median < 1 or self.median % 2 == 0:
            raise ValueError(f"median must be odd and at least 1 (1: no filter), got {self.median}")
        if self.tolerance is not None and self.tolerance <= 0:
            raise ValueError(f"tolerance must be positive or None, got {self.tolerance}")
        if self.interpolation not in ("bicubic", "bilinear"):
            raise ValueError(f'interpolation must be "bicubic" or "bilinear", got {self.interpolation!r}')
        if self.border not in ("mask", "zeros", "border"):
            raise ValueError(f'border must be "mask", "zeros" or "border", got {self.border!r}')


DEFAULT = TVL1Settings()
"""Pyramid down to 16 px, no median filter, 30 iterations per warp."""

OPENCV = TVL1Settings(scales=5, rounds=10, tolerance=0.01, median=5, border="zeros")
"""The defaults of OpenCV's CPU `DualTVL1OpticalFlow`, for comparison with it; slow."""

FAST = TVL1Settings(warps=3, iterations=15)
"""A third of the default's work for a little accuracy: 0.166 px instead of 0.154 px on RubberWhale."""

PRESETS = {"default": DEFAULT, "opencv": OPENCV, "fast": FAST}
