"""Bytes of clips as the floating-point values that networks see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def to_float(clips: Mapping[str, Any], *, input_range: tuple[float, float] = (-1.0, 1.0)) -> dict[str, Any]:
    """Convert the bytes of an item or batch to the values of `dtype=torch.float32`, bit for bit, on their device.

    rgb = low + (high - low) rgb / 255 and flow = (q - 128) / 127, the latter rounded to half, as all flow of clips is.
    Flow that is half is widened, and what is neither `rgb` nor `flow`, or not such bytes, is left as it is. In place
    of a function of one's own it is the second argument of `flow.prefetch_to_device`.

    Args:
        clips: from `PairedClips` or `MultiView` with `dtype=torch.uint8`, or a batch of these.
        input_range: of `rgb`; (-1, 1) is the convention of I3D.

    Returns:
        A new dict with the same names; `rgb` in `input_range`, `flow` in [-1, 1], both float32.

    Examples:
        >>> rgb, flow = torch.tensor([0, 255]).byte(), torch.tensor([1, 128]).byte()
        >>> to_float({"rgb": rgb, "flow": flow})
        {'rgb': tensor([-1.,  1.]), 'flow': tensor([-1.,  0.])}
    """
    found = dict(clips)
    if "rgb" in found and found["rgb"].dtype == torch.uint8:
        low, high = input_range
        found["rgb"] = found["rgb"].float().mul_((high - low) / 255).add_(low)
    if "flow" in found:
        flow = found["flow"]
        # k / 127 repeats its seven bits, so it is never near the middle of two half numbers: a device that multiplies
        # by the reciprocal instead of dividing rounds it alike.
        found["flow"] = flow.float().sub_(128).div_(127).half().float() if flow.dtype == torch.uint8 else flow.float()
    return found
