"""Synthetic action recognition: mp4 files of textured moving shapes whose class is a motion.

No single frame shows the class: every parameter that moves in one class stands still in the others at a value
drawn from the same distribution. Mirroring a clip keeps its class. Appearance (hue and outline) is a misleading
cue: in the training split it agrees with the class in a fraction `cue` of the clips, in the other splits it is
independent of the class. A network that sees appearance is tempted; one that sees optical flow is not.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from kdvideo.data import _shapes
from kdvideo.data._shapes import uniform

__all__ = ["CLASSES", "render", "write_clip", "write_dataset"]

CLASSES: tuple[str, ...] = tuple(_shapes.MOTIONS)
CLIPS_PER_CLASS: Mapping[str, int] = {"train": 40, "val": 10, "test": 20}
RECORD = "synthetic.json"


def _object(
    motion: str, look: _shapes.Look, times: Tensor, radius: float, speed: float, contrast: float, g: Generator
) -> tuple[_shapes.Pose, Tensor]:
    pose = _shapes.move(motion, times, radius, speed, g)
    tint = _shapes.colour(look.hue + uniform(-0.03, 0.03, g), 0.5 + uniform(-0.08, 0.08, g), 0.25)
    return pose, tint + 0.16 * contrast * _shapes.texture(64, g)


def _background(shift: Tensor, size: int, contrast: float, g: Generator) -> Tensor:
    side = 2 * size
    tint = _shapes.colour(uniform(0, 1, g), uniform(0.35, 0.65, g), 0.1)
    wall = tint + 0.13 * contrast * _shapes.texture(side, g)
    axis = torch.arange(size) - (size - 1) / 2
    x = (axis[None, None, :] - shift[0, :, None, None]).expand(-1, size, -1)
    y = (axis[None, :, None] - shift[1, :, None, None]).expand(-1, -1, size)
    grid = torch.stack((x, y), -1) / size
    return F.grid_sample(
        wall.expand(len(grid), -1, -1, -1), grid, padding_mode="reflection", align_corners=False
    )


def _camera(times: Tensor, reach: float, g: Generator) -> Tensor:
    paths = []
    for _ in range(2):
        period, phase = uniform(1.5, 3, g), uniform(0, _shapes.TURN, g)
        paths.append(uniform(0, reach, g) * (phase + _shapes.TURN * times / period).sin())
    return torch.stack(paths)


def render(
    name: str,
    *,
    seed: int,
    appearance: str | None = None,
    size: int = 72,
    frames: int = 32,
    fps: float = 25.0,
    noise: float = 6.0,
    distractor: float = 0.5,
    camera: float = 4.0,
    speed: float = 1.0,
    contrast: float = 1.0,
) -> Tensor:
    """Render one clip of class `name`, uint8 (T, 3, H, W) RGB."""
    g = Generator().manual_seed(seed)
    times = torch.arange(frames) / fps
    unit = size / 72
    radius = 15 * unit * uniform(0.85, 1.15, g)
    shift = _camera(times, camera * unit, g)
    canvas = _background(shift, size, contrast, g)
    for motion, look, scale in _cast(name, appearance, distractor, g):
        pose, skin = _object(motion, look, times, radius * scale, speed, contrast, g)
        centre = [uniform(-8, 8, g) * unit for _ in range(2)]
        if scale < 1:
            angle = uniform(0, _shapes.TURN, g)
            centre = [22 * unit * math.cos(angle), 22 * unit * math.sin(angle)]
        pose = _shapes.replace(pose, x=pose.x + centre[0] + shift[0], y=pose.y + centre[1] + shift[1])
        canvas = _shapes.paint(canvas, pose, look, skin, radius * scale)
    canvas = 255 * canvas + noise * torch.randn(canvas.shape, generator=g)
    return canvas.round().clamp(0, 255).to(torch.uint8)


def _cast(
    name: str, appearance: str | None, distractor: float, g: Generator
) -> Iterator[tuple[str, _shapes.Look, float]]:
    def pick(names: Sequence[str]) -> str:
        return names[int(torch.randint(len(names), (), generator=g))]

    look = appearance or pick(CLASSES)
    if uniform(0, 1, g) < distractor:
        yield pick([other for other in CLASSES if other != name]), _shapes.LOOKS[pick(CLASSES)], 0.4
    yield name, _shapes.LOOKS[look], 1.0


def write_clip(path: Path, clip: Tensor, *, fps: float = 25.0) -> None:
    """Write uint8 (T, 3, H, W) RGB frames as H.264 mp4."""
    height, width = clip.shape[-2:]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream(
            "libx264",
            rate=Fraction(fps).limit_denominator(1001),
            options={"crf": "16", "preset": "veryfast", "threads": "1"},
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in clip.permute(0, 2, 3, 1).contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


def _appearances(name: str, count: int, classes: Sequence[str], cue: float | None, g: Generator) -> list[str]:
    others = [other for other in classes if cue is None or other != name]
    agree = 0 if cue is None else round(cue * count)
    names = [name] * agree + [others[i % len(others)] for i in range(count - agree)]
    return [names[i] for i in torch.randperm(count, generator=g).tolist()]


def write_dataset(
    root: str | os.PathLike[str],
    *,
    clips_per_class: Mapping[str, int] = CLIPS_PER_CLASS,
    classes: Sequence[str] = CLASSES,
    cue: float = 0.7,
    seed: int = 0,
    size: int = 72,
    frames: int = 32,
    fps: float = 25.0,
    noise: float = 6.0,
    distractor: float = 0.5,
    camera: float = 4.0,
    speed: float = 1.0,
    contrast: float = 1.0,
) -> Path:
    """Write the data set as root/<split>/<class>/<clip>.mp4 and return root."""
    root = Path(root)
    dials: dict[str, Any] = dict(
        size=size,
        frames=frames,
        fps=fps,
        noise=noise,
        distractor=distractor,
        camera=camera,
        speed=speed,
        contrast=contrast,
    )
    record = dict(clips_per_class=dict(clips_per_class), classes=list(classes), cue=cue, seed=seed, **dials)
    if root.exists():
        if json.loads((root / RECORD).read_text()) != record:
            raise ValueError(f"{root} holds another data set")
        return root
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for split, count in clips_per_class.items():
        for name in classes:
            folder = partial / split / name
            folder.mkdir(parents=True)
            g = Generator().manual_seed(_seed(seed, split, name))
            for index, look in enumerate(
                _appearances(name, count, classes, cue if split == "train" else None, g)
            ):
                clip = render(name, seed=_seed(seed, split, name, index), appearance=look, **dials)
                write_clip(folder / f"{index:04d}.mp4", clip, fps=fps)
    (partial / RECORD).write_text(json.dumps(record, indent=1))
    partial.rename(root)
    return root
