"""Actors of the synthetic localization videos: where they are in each frame, their pictures and their boxes.

Legend: T frames, H W pixels, N actors. Lengths are in pixels, times in seconds; boxes are fractions of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from kdvideo.data.synthetic import motions, shapes
from kdvideo.data.synthetic.seeding import check

TRAVEL = ("horizontal", "orbit", "vertical")  # these move an actor; the other actions change its shape
PLACES = 4


@dataclass(frozen=True)
class Actor:
    """An object, its actions (none, one, or one that moves it and one that changes its shape), and its appearance.

    Args:
        actions: of `CLASSES`; at most one of `TRAVEL` and at most one other.
        appearance: the action whose hue and outline it has.

    Raises:
        ValueError: actions that do not go together, or an unknown name.

    Examples:
        >>> Actor(("orbit", "spin"), "pulse").actions
        ('orbit', 'spin')
    """

    actions: tuple[str, ...]
    appearance: str

    def __post_init__(self) -> None:
        travels = sum(action in TRAVEL for action in self.actions)
        known = {*self.actions, self.appearance} <= set(motions.CLASSES)
        if not (known and travels <= 1 and len(self.actions) - travels <= 1):
            raise ValueError(
                f"actor must have actions and an appearance of {motions.CLASSES}, at most one action of {TRAVEL} and "
                f"at most one other, got {self.actions} and {self.appearance!r}"
            )


@dataclass(frozen=True)
class Scene:
    """Settings that all videos of a data set share; see `kdvideo.data.synthetic.localization.render`."""

    size: int
    frames: int
    fps: float
    noise: float
    camera: float
    speed: float
    contrast: float

    def __post_init__(self) -> None:
        check("size", self.size, self.size >= 48 and self.size % 6 == 0, "a multiple of 6 pixels from 48")
        check("frames", self.frames, self.frames >= 2, "at least 2")
        check("fps", self.fps, self.fps > 0, "a number above 0")
        check("speed", self.speed, self.speed > 0, "a number above 0")
        for name in ("noise", "camera", "contrast"):
            check(name, getattr(self, name), getattr(self, name) >= 0, "a number from 0")

    @property
    def width(self) -> int:
        """W, in pixels; `size` is H."""
        return self.size * 4 // 3


@dataclass(frozen=True)
class Trajectories:
    """The drift of the view, (2, T) in pixels, and pose, radius and look of every actor of one video."""

    view: Tensor
    actors: tuple[tuple[shapes.Pose, float, shapes.Look], ...]

    def boxes(self, scene: Scene) -> Tensor:
        """Compute the boxes of all frames, (T, N, 4)."""
        size = torch.tensor([scene.width, scene.size] * 2)
        return (torch.stack([_box(*actor) for actor in self.actors], 1) / size + 0.5).clamp(0, 1)


def draw_trajectories(scene: Scene, actors: Sequence[Actor], generator: Generator) -> Trajectories:
    """Draw where the actors of one video are and how they move.

    Raises:
        ValueError: no actor, or more than there are places.
    """
    check("actors", len(actors), 1 <= len(actors) <= PLACES, f"1 to {PLACES} of them")
    times, unit = torch.arange(scene.frames) / scene.fps, scene.size / 96
    view = shapes.drift(times, scene.camera * unit, generator)
    drawn = []
    for actor, place in zip(actors, torch.randperm(PLACES, generator=generator).tolist(), strict=False):
        radius = 11 * unit * shapes.uniform(0.85, 1.15, generator)
        pose = _draw_pose(actor, times, radius, scene.speed, generator)
        x = (place % 2 - 0.5) * scene.width / 2 + unit * shapes.uniform(-8, 8, generator)
        y = (place // 2 - 0.5) * scene.size / 2 + unit * shapes.uniform(-5, 5, generator)
        pose = replace(pose, x=pose.x + view[0] + x, y=pose.y + view[1] + y)
        drawn.append((pose, radius, shapes.LOOKS[actor.appearance]))
    return Trajectories(view, tuple(drawn))


def _draw_pose(actor: Actor, times: Tensor, radius: float, speed: float, generator: Generator) -> shapes.Pose:
    pose = shapes.still(times, radius, generator)
    for action in actor.actions:
        moved = shapes.move(action, times, radius, speed, generator)
        if action in TRAVEL:
            pose = replace(pose, x=moved.x, y=moved.y)
        else:
            pose = replace(pose, angle=moved.angle, zoom=moved.zoom, shear=moved.shear)
    return pose


def render_frames(scene: Scene, trajectories: Trajectories, generator: Generator) -> Tensor:
    """Render the frames of one video, uint8 (T, 3, H, W); textures and noise are drawn here."""
    canvas = shapes.background(trajectories.view, scene.width, scene.contrast, generator)[..., : scene.size, :]
    for pose, radius, look in trajectories.actors:
        canvas = shapes.paint(canvas, pose, look, shapes.surface(look, scene.contrast, generator), radius)
    canvas = 255 * canvas + scene.noise * torch.randn(canvas.shape, generator=generator)
    return canvas.round().clamp(0, 255).to(torch.uint8)


def _box(pose: shapes.Pose, radius: float, look: shapes.Look) -> Tensor:
    """Compute the box (T, 4) of what `shapes.paint` draws, in pixels from the middle of the frame."""
    angle = torch.linspace(0, 2 * math.pi, 361)
    edge = radius * pose.zoom[:, None] * (1 + look.depth * (look.lobes * angle).cos())
    turned = angle + pose.angle[:, None]
    y = edge * turned.sin()
    x = edge * turned.cos() + pose.shear[:, None] * y + pose.x[:, None]
    y = y + pose.y[:, None]
    return torch.stack([x.amin(1), y.amin(1), x.amax(1), y.amax(1)], 1)
