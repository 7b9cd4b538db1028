"""The Im2Flow encoding of flow: magnitude and direction instead of components."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo.flow.fields.transforms import check_flow


def im2flow_encode(flow: Tensor) -> Tensor:
    """Encode flow as (m, sin, cos) = (sqrt(u^2 + v^2), v / m, u / m); no motion is (0, 0, 0).

    Args:
        flow: (...,2,H,W) in pixels, u first.

    Returns:
        (...,3,H,W), magnitude in pixels, then sine and cosine of the angle from right toward down.

    Raises:
        ValueError: the flow has another shape or type.

    Examples:
        >>> im2flow_encode(torch.tensor([3.0, -4.0]).view(2, 1, 1)).flatten()
        tensor([ 5.0000, -0.8000,  0.6000])

    Source:
        R. Gao, B. Xiong, K. Grauman, "Im2Flow: Motion Hallucination from Static Images for Action Recognition",
        CVPR 2018, arXiv 1712.04109.
    """
    check_flow(flow)
    u, v = flow.unbind(-3)
    magnitude = torch.hypot(u, v)
    # Not an epsilon: the direction stays a unit vector however slow the motion is.
    divisor = torch.where(magnitude > 0, magnitude, 1)
    return torch.stack([magnitude, v / divisor, u / divisor], -3)


def im2flow_decode(encoding: Tensor) -> Tensor:
    """Decode (m, sin, cos) to (u, v) = (m cos, m sin), with a negative m read as 0: undoes `im2flow_encode`.

    A predicted (sin, cos) is not normalized to length one: that made pooled flow worse.

    Args:
        encoding: (...,3,H,W): magnitude in pixels, sine, cosine.

    Returns:
        Flow (...,2,H,W) in pixels, u first.

    Raises:
        ValueError: the encoding has another shape.

    Examples:
        >>> im2flow_decode(torch.tensor([5.0, -0.8, 0.6]).view(3, 1, 1)).flatten()
        tensor([ 3., -4.])
    """
    if encoding.ndim < 3 or encoding.shape[-3] != 3:
        raise ValueError(f"encoding must be (...,3,H,W) of magnitude, sine and cosine, got {tuple(encoding.shape)}")
    magnitude, sine, cosine = encoding.unbind(-3)
    magnitude = magnitude.clamp_min(0)
    return torch.stack([magnitude * cosine, magnitude * sine], -3)
