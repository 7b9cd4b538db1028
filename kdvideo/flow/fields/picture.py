"""Flow as a color picture: hue is direction, saturation is speed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdvideo.flow.fields.flo import is_known
from kdvideo.flow.fields.transforms import check_flow

# Steps from one pure color to the next (red, yellow, green, cyan, blue, magenta): as many as the eye distinguishes.
STEPS = (15, 6, 4, 11, 13, 6)
CORNERS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1))


def color_wheel() -> Tensor:
    """Make the colors of the Middlebury flow wheel, from red on.

    Returns:
        (55,3), RGB in [0, 1].

    Examples:
        >>> color_wheel().shape
        torch.Size([55, 3])
    """
    corners = torch.tensor([*CORNERS, CORNERS[0]], dtype=torch.float32)
    ramps = []
    for start, end, steps in zip(corners[:-1], corners[1:], STEPS, strict=True):
        part = torch.arange(steps)[:, None] / steps
        ramps.append(start * (1 - part) + end * part)
    return torch.cat(ramps)


def to_image(flow: Tensor, *, max_magnitude: float | None = None) -> Tensor:
    """Draw flow in colors: white is rest, red is to the right, unknown is black.

    Args:
        flow: (...,2,H,W) in pixels, u first. Components that are NaN, infinite or above 1e9 are unknown.
        max_magnitude: speed of full color in pixels (faster is darkened); `None`: the fastest pixel
            of the whole input, so that frames of one clip share a scale.

    Returns:
        (...,3,H,W), uint8 RGB.

    Raises:
        ValueError: the flow has another shape, or `max_magnitude` is not positive.

    Examples:
        >>> to_image(torch.tensor([5.0, 0.0]).view(2, 1, 1)).flatten().tolist()
        [255, 0, 0]

    Source:
        S. Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011.
    """
    check_flow(flow)
    if max_magnitude is not None and not 0 < max_magnitude < math.inf:
        raise ValueError(f"max_magnitude must be a positive number of pixels, got {max_magnitude}")
    known = is_known(flow)
    u, v = torch.where(known.unsqueeze(-3), flow.detach().float(), 0).unbind(-3)
    speed = torch.hypot(u, v)
    fastest = float(speed.max()) if max_magnitude is None and speed.numel() else max_magnitude
    speed = (speed / (fastest or 1.0)).unsqueeze(-1)
    color = _hue(torch.atan2(v, u) / (2 * math.pi))
    color = torch.where(speed <= 1, 1 - speed * (1 - color), color * 0.75) * known.unsqueeze(-1)
    return (color * 255).round().to(torch.uint8).movedim(-1, -3)


def _hue(turn: Tensor) -> Tensor:
    """Return the color (...,3) of a direction in turns, interpolated around the wheel."""
    wheel = color_wheel().to(turn.device)
    place = (turn % 1) * len(wheel)
    low = place.floor().long() % len(wheel)
    part = (place - place.floor()).unsqueeze(-1)
    return wheel[low] * (1 - part) + wheel[(low + 1) % len(wheel)] * part
