"""Shapes, value ranges and gray values of the frames that estimators take, checked in one place.

Legend: B clips, T frames, C channels, H W space.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._hints import kind

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV


def as_clips(frames: Tensor, next_frames: Tensor | None = None) -> Tensor:
    """Return clips (B,T,C,H,W); one clip becomes a batch, and frame pairs become clips of two frames.

    Raises:
        ValueError: the shapes are others, or the frames of a pair differ in shape, type or device.
    """
    for given in (frames, next_frames):
        if given is not None and not isinstance(given, Tensor):
            raise ValueError(f"frames must be tensors, got {kind(given)}: torch.as_tensor(frames)")
    if next_frames is not None:
        _check_pair(frames, next_frames)
        return torch.stack([frames, next_frames], 1)
    if frames.ndim not in (4, 5) or frames.shape[-3] not in (1, 3) or 0 in frames.shape[-2:]:
        raise ValueError(f"clips must be (B,T,C,H,W) or (T,C,H,W) with C = 1 or 3, got {tuple(frames.shape)}")
    if frames.shape[-4] < 2:
        raise ValueError(f"clips must have at least two frames, got {frames.shape[-4]} in {tuple(frames.shape)}")
    return frames if frames.ndim == 5 else frames[None]


def _check_pair(frames: Tensor, next_frames: Tensor) -> None:
    if frames.ndim != 4 or frames.shape[1] not in (1, 3) or 0 in frames.shape[2:]:
        raise ValueError(f"frames of pairs must be (B,1,H,W) or (B,3,H,W), got {tuple(frames.shape)}")
    if frames.shape != next_frames.shape:
        raise ValueError(
            f"frames and next_frames must have one shape, got {tuple(frames.shape)} and {tuple(next_frames.shape)}"
        )
    if frames.dtype != next_frames.dtype or frames.device != next_frames.device:
        raise ValueError(
            f"frames and next_frames must have one type and device, got {frames.dtype} on {frames.device} and "
            f"{next_frames.dtype} on {next_frames.device}"
        )


def check_range(images: Tensor, value_range: tuple[float, float] | None) -> tuple[float, float]:
    """Return (black, white) of frames.

    Raises:
        ValueError: the frames are neither uint8 nor floating point, or the range does not fit them.
    """
    if images.dtype == torch.uint8:
        if value_range not in (None, (0, 255)):
            raise ValueError(f"value_range of uint8 frames must be (0, 255), got {value_range}: leave it out")
        return 0.0, 255.0
    if not images.is_floating_point():
        raise ValueError(f"frames must be uint8 or floating point, got {images.dtype}")
    if value_range is None:
        raise ValueError("floating point frames need value_range=(black, white), for instance (0, 1) or (0, 255)")
    check_black_and_white(value_range)
    return value_range


def check_black_and_white(value_range: object, name: str = "value_range") -> None:
    """Raise ValueError unless a range is (black, white), two numbers of which the first is lower."""
    if not isinstance(value_range, (tuple, list)) or len(value_range) != 2 or not value_range[0] < value_range[1]:
        raise ValueError(f"{name} must be (black, white) with black < white, got {value_range!r}")


def to_gray(clips: Tensor, value_range: tuple[float, float] | None, *, unit: str = "frame") -> Tensor:
    """Return the brightness of clips (B,T,C,H,W) as contiguous float32 (B,T,H,W) in [0, 255].

    Args:
        clips: gray (C = 1) or RGB (C = 3).
        value_range: (black, white) of floating point clips.
        unit: what an error names, "frame" or "pair".

    Raises:
        ValueError: the type or the range does not fit, or a pixel is NaN or infinite (the message says where).
    """
    black, white = check_range(clips, value_range)
    clips = clips.float()
    if clips.shape[2] == 3:
        red, green, blue = clips.unbind(2)
        gray = red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]
    else:
        gray = clips[:, :, 0]
    gray = ((gray - black) * (255 / (white - black))).contiguous()
    check_finite(gray, unit)
    return gray


def check_finite(gray: Tensor, unit: str = "frame") -> None:
    """Raise ValueError naming the first frame or pair of (B,T,H,W) with a pixel that is NaN or infinite."""
    finite = torch.isfinite(gray).flatten(2).all(2)
    if not finite.all():
        clip, frame = (~finite).nonzero()[0].tolist()
        where = f"pair {clip}" if unit == "pair" else f"frame {frame} of clip {clip}"
        raise ValueError(f"{where} has a pixel that is NaN or infinite")
