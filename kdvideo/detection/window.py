"""Indices of the frames around a key frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CLIP_START = 900.0  # AVA annotates minutes 15 to 30; its clips are commonly cut to these


def key_frame_window(
    second: float, fps: float, length: int, *, frames: int = 50, clip_start: float = CLIP_START
) -> Tensor:
    """Compute the indices of the frames around a key frame, which is at place frames // 2.

    The key frame is frame round((second - clip_start) · fps), .5 upwards. Indices before the first or after the last
    frame of the file repeat that frame.

    Args:
        second: of the key frame, in the whole video.
        fps: frames per second of the file.
        length: frames in the file.
        frames: how many; 50 in D3D's AVA experiment.
        clip_start: the second at which the file starts: 900 for AVA's 15-minute clips, 0 for whole videos.

    Returns:
        (frames,) int64, in 0 … length - 1.

    Raises:
        ValueError: the key frame is not in the file, or a number out of range.

    Examples:
        >>> key_frame_window(902, 30, 27_000, frames=4)
        tensor([58, 59, 60, 61])
        >>> key_frame_window(900, 25, 22_500, frames=4), key_frame_window(2, 25, 51, frames=4, clip_start=0)
        (tensor([0, 0, 0, 1]), tensor([48, 49, 50, 50]))
    """
    if not (fps > 0 and length >= 1 and frames >= 1 and math.isfinite(fps * second)):
        raise ValueError(f"fps, length and frames must be positive, got {second=}, {fps=}, {length=}, {frames=}")
    center = math.floor((second - clip_start) * fps + 0.5)
    if not 0 <= center < length:
        end = clip_start + length / fps
        raise ValueError(
            f"the second must be in the file ({clip_start:g} to {end:g} s), got {second:g}: "
            "pass clip_start=0 for whole videos"
        )
    return (torch.arange(frames) + center - frames // 2).clamp(0, length - 1)
