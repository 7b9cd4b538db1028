"""Textures, outlines and moving poses of the synthetic videos, drawn as plain functions of a generator.

Legend: T frames, H W pixels. Lengths are in pixels, times in seconds, angles in radians.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

TURN = 2 * math.pi


@dataclass(frozen=True)
class Pose:
    """Where an object is at every frame: five tensors of shape (T,)."""

    x: Tensor
    y: Tensor
    angle: Tensor
    zoom: Tensor
    shear: Tensor


@dataclass(frozen=True)
class Look:
    """What an object looks like: its hue in [0, 1) and an outline r(θ) = 1 + depth · cos(lobes · θ)."""

    hue: float
    lobes: int
    depth: float
    saturation: float = 0.22


def uniform(low: float, high: float, generator: Generator) -> float:
    """Draw one number from [low, high)."""
    return low + (high - low) * torch.rand((), generator=generator).item()


def pick(names: Sequence[str], generator: Generator) -> str:
    """Draw one of the names."""
    return names[int(torch.randint(len(names), (), generator=generator))]


def _still_value(times: Tensor, reach: float, generator: Generator) -> Tensor:
    # The value a swinging parameter has in a random frame: one frame cannot tell still from swinging.
    return torch.full_like(times, reach * math.sin(uniform(0, TURN, generator)))


def still(times: Tensor, radius: float, generator: Generator) -> Pose:
    """Draw a pose in which nothing moves."""
    return Pose(
        x=_still_value(times, 0.75 * radius, generator),
        y=_still_value(times, 0.75 * radius, generator),
        angle=torch.full_like(times, uniform(0, TURN, generator)),
        zoom=_still_value(times, 0.35, generator).exp(),
        shear=_still_value(times, 0.7, generator),
    )


def _phase(times: Tensor, speed: float, generator: Generator) -> Tensor:
    period = uniform(1.1, 1.7, generator) / speed
    return uniform(0, TURN, generator) + TURN * times / period


def _sign(generator: Generator) -> float:
    return 1.0 if uniform(0, 1, generator) < 0.5 else -1.0


def _horizontal(pose: Pose, phase: Tensor, radius: float, generator: Generator) -> Pose:
    return replace(pose, x=0.75 * radius * phase.sin())


def _vertical(pose: Pose, phase: Tensor, radius: float, generator: Generator) -> Pose:
    return replace(pose, y=0.75 * radius * phase.sin())


def _diagonal(pose: Pose, phase: Tensor, radius: float, generator: Generator) -> Pose:
    swing = 0.75 * radius * phase.sin()
    return replace(pose, x=_sign(generator) * swing, y=swing)


def _orbit(pose: Pose, phase: Tensor, radius: float, generator: Generator) -> Pose:
    return replace(pose, x=0.75 * radius * phase.cos() * _sign(generator), y=0.75 * radius * phase.sin())


def _spin(pose: Pose, phase: Tensor, radius: float, generator: Generator) -> Pose:
    return replace(pose, angle=_sign(generator) * phase)


def _rock(pose: Pose, phase: Tensor, radius: float, generator: Generator) -> Pose:
    return replace(pose, angle=pose.angle + 0.9 * phase.sin())


def _pulse(pose: Pose, phase: Tensor, radius: float, generator: Generator) -> Pose:
    return replace(pose, zoom=(0.35 * phase.sin()).exp())


def _shear(pose: Pose, phase: Tensor, radius: float, generator: Generator) -> Pose:
    return replace(pose, shear=0.7 * phase.sin())


Motion = Callable[[Pose, Tensor, float, Generator], Pose]
MOTIONS: dict[str, Motion] = {
    "diagonal": _diagonal,
    "horizontal": _horizontal,
    "orbit": _orbit,
    "pulse": _pulse,
    "rock": _rock,
    "shear": _shear,
    "spin": _spin,
    "vertical": _vertical,
}
OUTLINES = ((0, 0.0), (2, 0.3), (3, 0.15), (3, 0.35), (4, 0.12), (4, 0.3), (5, 0.25), (6, 0.2))
LOOKS = {name: Look(index / len(MOTIONS), *OUTLINES[index * 3 % len(OUTLINES)]) for index, name in enumerate(MOTIONS)}
STILL, PLAIN = "still", "plain"  # no motion; a gray disc
LOOKS[PLAIN] = Look(0.0, 0, 0.0, saturation=0.0)


def move(motion: str, times: Tensor, radius: float, speed: float, generator: Generator) -> Pose:
    """Draw the pose of an object whose motion is the class `motion`, or `STILL`, around the origin."""
    pose = still(times, radius, generator)
    if motion == STILL:
        return pose
    return MOTIONS[motion](pose, _phase(times, speed, generator), radius, generator)


def drift(times: Tensor, reach: float, generator: Generator) -> Tensor:
    """Draw the slow drift of a hand-held view, (2, T) in pixels, x first."""
    paths = []
    for _ in "xy":
        period, phase = uniform(1.5, 3, generator), uniform(0, TURN, generator)
        paths.append(uniform(0, reach, generator) * (phase + TURN * times / period).sin())
    return torch.stack(paths)


def texture(side: int, generator: Generator) -> Tensor:
    """Draw smooth noise of three octaves, (1, side, side), zero mean and unit deviation."""
    total = torch.zeros(1, side, side)
    for cell, weight in ((16, 1.0), (8, 1.0), (4, 0.7)):
        coarse = torch.randn(1, 1, side // cell + 2, side // cell + 2, generator=generator)
        total += weight * F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)[0]
    return (total - total.mean()) / total.std()


def color(hue: float, value: float, saturation: float) -> Tensor:
    """Turn a hue in [0, 1) into RGB, (3, 1, 1), with mean `value` and swing `saturation`."""
    angles = TURN * (hue - torch.arange(3) / 3)
    return (value + saturation * angles.cos())[:, None, None]


def surface(look: Look, contrast: float, generator: Generator) -> Tensor:
    """Draw the surface of an object, (3, 64, 64): its hue, brighter than any background, with a texture."""
    hue, value = look.hue + uniform(-0.03, 0.03, generator), uniform(0.56, 0.68, generator)
    return color(hue, value, look.saturation) + 0.13 * contrast * texture(64, generator)


def background(view: Tensor, size: int, contrast: float, generator: Generator) -> Tensor:
    """Draw a textured wall seen from a drifting `view` (2, T): (T, 3, size, size)."""
    tint = color(uniform(0, 1, generator), uniform(0.3, 0.42, generator), 0.06)
    wall = tint + 0.08 * contrast * texture(2 * size, generator)
    axis = torch.arange(size) - (size - 1) / 2
    x = (axis[None, None, :] - view[0, :, None, None]).expand(-1, size, -1)
    y = (axis[None, :, None] - view[1, :, None, None]).expand(-1, -1, size)
    grid = torch.stack((x, y), -1) / size
    return F.grid_sample(wall.expand(len(grid), -1, -1, -1), grid, padding_mode="reflection", align_corners=False)


def paint(canvas: Tensor, pose: Pose, look: Look, surface: Tensor, radius: float) -> Tensor:
    """Draw an object with texture `surface` (3, S, S) over `canvas` (T, 3, H, W) and return the new canvas."""
    height, width = canvas.shape[-2:]
    row = (torch.arange(height) - (height - 1) / 2)[None, :, None] - pose.y[:, None, None]
    column = (torch.arange(width) - (width - 1) / 2)[None, None, :] - pose.x[:, None, None]
    size = radius * pose.zoom[:, None, None]
    column = column - pose.shear[:, None, None] * row
    cos, sin = pose.angle.cos()[:, None, None], pose.angle.sin()[:, None, None]
    u, v = (cos * column + sin * row) / size, (cos * row - sin * column) / size
    edge = 1 + look.depth * (look.lobes * torch.atan2(v, u)).cos()
    cover = ((edge - u.hypot(v)) * size + 0.5).clamp(0, 1)[:, None]
    grid = torch.stack((u, v), -1) / 1.5
    colors = F.grid_sample(surface.expand(len(grid), -1, -1, -1), grid, padding_mode="border", align_corners=False)
    return canvas * (1 - cover) + colors * cover
