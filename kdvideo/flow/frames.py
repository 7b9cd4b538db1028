"""Frames as the estimators want them: shapes, ranges and grey values, checked once for all.

Legend: B clips, T frames, C channels, H W space.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV


def as_clips(frames: Tensor, next: Tensor | None = None) -> Tensor:
    """(B,T,C,H,W), a pair being a clip of two frames; ValueError for other shapes."""
    if next is not None:
        _check_pair(frames, next)
        return torch.stack([frames, next], 1)
    if frames.ndim not in (4, 5) or frames.shape[-3] not in (1, 3) or 0 in frames.shape[-2:]:
        raise ValueError(f"clips must be (B,T,C,H,W) or (T,C,H,W) with C = 1 or 3, got {tuple(frames.shape)}")
    if frames.shape[-4] < 2:
        raise ValueError(f"flow needs at least two frames, got {frames.shape[-4]} in {tuple(frames.shape)}")
    return frames if frames.ndim == 5 else frames[None]


def _check_pair(previous: Tensor, next: Tensor) -> None:
    if previous.ndim != 4 or previous.shape[1] not in (1, 3) or 0 in previous.shape[2:]:
        raise ValueError(f"frames must be (B,1,H,W) or (B,3,H,W), got previous {tuple(previous.shape)}")
    if previous.shape != next.shape:
        raise ValueError(
            f"both frames of a pair must have one shape, got previous {tuple(previous.shape)} "
            f"and next {tuple(next.shape)}"
        )
    if previous.dtype != next.dtype or previous.device != next.device:
        raise ValueError(
            f"both frames must have one type and device, got previous {previous.dtype} on "
            f"{previous.device} and next {next.dtype} on {next.device}"
        )


def check_range(images: Tensor, value_range: tuple[float, float] | None) -> tuple[float, float]:
    """(black, white) of the frames; ValueError where they have another type or no range."""
    if images.dtype == torch.uint8:
        if value_range not in (None, (0, 255)):
            raise ValueError(f"uint8 frames range over (0, 255), got value_range={value_range}")
        return 0.0, 255.0
    if not images.is_floating_point():
        raise ValueError(f"frames must be uint8 or floating point, got {images.dtype}")
    if value_range is None:
        raise ValueError("floating point frames need value_range=(black, white), for instance (0, 1) or (0, 255)")
    if not value_range[0] < value_range[1]:
        raise ValueError(f"value_range must be (black, white) with black < white, got {value_range}")
    return value_range


def to_grey(clips: Tensor, value_range: tuple[float, float] | None, *, unit: str = "frame") -> Tensor:
    """(B,T,H,W) contiguous float32 in [0, 255]; ValueError naming the clip where a pixel is not a number."""
    black, white = check_range(clips, value_range)
    clips = clips.float()
    if clips.shape[2] == 3:
        red, green, blue = clips.unbind(2)
        grey = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    else:
        grey = clips[:, :, 0]
    grey = ((grey - black) * (255 / (white - black))).contiguous()
    check_finite(grey, unit)
    return grey


def check_finite(grey: Tensor, unit: str = "frame") -> None:
    """Raise ValueError naming the first clip of (B,T,H,W) with a pixel that is not a number."""
    finite = torch.isfinite(grey).flatten(2).all(2)
    if not finite.all():
        clip, frame = (~finite).nonzero()[0].tolist()
        where = f"pair {clip}" if unit == "pair" else f"frame {frame} of clip {clip}"
        raise ValueError(f"{where} has a pixel that is NaN or infinite")
