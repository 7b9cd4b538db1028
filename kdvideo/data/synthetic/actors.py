"""Drawing for the synthetic localisation videos: several actors in one scene, and their boxes.

Legend: T frames, H W pixels, N actors. Lengths are in pixels, times in seconds; boxes are fractions of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from kdvideo.data.synthetic import motions, shapes
from kdvideo.data.synthetic.drawn import check

TRAVEL = ("horizontal", "orbit", "vertical")  # where an actor is; the other actions change its form
PLACES = 4


@dataclass(frozen=True)
class Actor:
    """A shape, its actions (none, one, or one of place and one of form), and the action whose look it wears.

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
                f"actor {self.actions} with the look of {self.appearance!r}; expected names of {motions.CLASSES}, "
                f"and of the actions at most one of {TRAVEL} and at most one other"
            )


@dataclass(frozen=True)
class Scene:
    """What all videos of a data set have in common; see `kdvideo.data.synthetic.localization.render`."""

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
class Stage:
    """All that moves in a video: the view (2, T), and pose, radius and look of every actor."""

    view: Tensor
    cast: tuple[tuple[shapes.Pose, float, shapes.Look], ...]

    def boxes(self, scene: Scene) -> Tensor:
        """The boxes of all frames, (T, N, 4)."""
        size = torch.tensor([scene.width, scene.size] * 2)
        return (torch.stack([_box(*actor) for actor in self.cast], 1) / size + 0.5).clamp(0, 1)


def rehearse(scene: Scene, actors: Sequence[Actor], generator: Generator) -> Stage:
    """Draw where everybody is and what they do."""
    check("actors", len(actors), 1 <= len(actors) <= PLACES, f"1 to {PLACES} of them")
    times, unit = torch.arange(scene.frames) / scene.fps, scene.size / 96
    view = shapes.drift(times, scene.camera * unit, generator)
    cast = []
    for actor, place in zip(actors, torch.randperm(PLACES, generator=generator).tolist(), strict=False):
        radius = 11 * unit * shapes.uniform(0.85, 1.15, generator)
        pose = _perform(actor, times, radius, scene.speed, generator)
        x = (place % 2 - 0.5) * scene.width / 2 + unit * shapes.uniform(-8, 8, generator)
        y = (place // 2 - 0.5) * scene.size / 2 + unit * shapes.uniform(-5, 5, generator)
        pose = replace(pose, x=pose.x + view[0] + x, y=pose.y + view[1] + y)
        cast.append((pose, radius, shapes.LOOKS[actor.appearance]))
    return Stage(view, tuple(cast))


def _perform(actor: Actor, times: Tensor, radius: float, speed: float, generator: Generator) -> shapes.Pose:
    pose = shapes.still(times, radius, generator)
    for action in actor.actions:
        moved = shapes.move(action, times, radius, speed, generator)
        if action in TRAVEL:
            pose = replace(pose, x=moved.x, y=moved.y)
        else:
            pose = replace(pose, angle=moved.angle, zoom=moved.zoom, shear=moved.shear)
    return pose


def film(scene: Scene, stage: Stage, generator: Generator) -> Tensor:
    """Draw the frames, uint8 (T, 3, H, W); textures and noise are drawn here."""
    canvas = shapes.background(stage.view, scene.width, scene.contrast, generator)[..., : scene.size, :]
    for pose, radius, look in stage.cast:
        canvas = shapes.paint(canvas, pose, look, shapes.skin(look, scene.contrast, generator), radius)
    canvas = 255 * canvas + scene.noise * torch.randn(canvas.shape, generator=generator)
    return canvas.round().clamp(0, 255).to(torch.uint8)


def _box(pose: shapes.Pose, radius: float, look: shapes.Look) -> Tensor:
    """The box (T, 4) of what `shapes.paint` draws, in pixels from the middle of the frame."""
    angle = torch.linspace(0, 2 * math.pi, 361)
    edge = radius * pose.zoom[:, None] * (1 + look.depth * (look.lobes * angle).cos())
    turned = angle + pose.angle[:, None]
    y = edge * turned.sin()
    x = edge * turned.cos() + pose.shear[:, None] * y + pose.x[:, None]
    y = y + pose.y[:, None]
    return torch.stack([x.amin(1), y.amin(1), x.amax(1), y.amax(1)], 1)
