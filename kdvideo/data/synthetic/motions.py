"""Synthetic action recognition: mp4 files of textured shapes whose class shows in their motion and their appearance.

No frame shows the motion: a parameter that oscillates in one class is constant in the others, at the value it would
have in a random frame. A mirrored clip keeps its class. How often motion and appearance (hue and outline of the
object) show the class, and in which split, is decided by `IndependentCues` or `ShortcutCue`.
"""

import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from kdvideo.data.synthetic import shapes
from kdvideo.data.synthetic.cues import Cues, IndependentCues
from kdvideo.data.synthetic.dataset_folder import write_file, write_folder
from kdvideo.data.synthetic.seeding import check, check_counts, seed_of
from kdvideo.data.video.encoding import write_h264

__all__ = ["CLASSES", "MOTIONS", "encode", "render", "write_dataset"]

MOTIONS: tuple[str, ...] = tuple(shapes.MOTIONS)
CLASSES: tuple[str, ...] = ("horizontal", "orbit", "pulse", "shear", "spin", "vertical")
CLIPS_PER_CLASS: Mapping[str, int] = {"train": 40, "val": 12, "test": 24}
VERSION = 2  # of the pictures: raise it with every change to them, so that old folders are refused
_CUES = IndependentCues()


@dataclass(frozen=True)
class _Scene:
    size: int
    frames: int
    fps: float
    noise: float
    distractor: float
    camera: float
    speed: float
    contrast: float

    def __post_init__(self) -> None:
        check("size", self.size, self.size >= 32 and self.size % 2 == 0, "an even number of pixels from 32")
        check("frames", self.frames, self.frames >= 2, "at least 2")
        check("fps", self.fps, self.fps > 0, "a number above 0")
        check("noise", self.noise, self.noise >= 0, "a number from 0")
        check("distractor", self.distractor, 0 <= self.distractor <= 1, "a probability in [0, 1]")
        check("camera", self.camera, self.camera >= 0, "a number of pixels from 0")
        check("speed", self.speed, self.speed > 0, "a number above 0")
        check("contrast", self.contrast, self.contrast >= 0, "a number from 0")


@dataclass(frozen=True)
class _Clip:
    path: str
    motion: str
    appearance: str
    seed: int


def render(
    motion: str,
    *,
    seed: int,
    appearance: str | None = None,
    size: int = 72,
    frames: int = 32,
    fps: float = 25.0,
    noise: float = 6.0,
    distractor: float = 0.5,
    camera: float = 2.0,
    speed: float = 1.0,
    contrast: float = 1.0,
) -> Tensor:
    """Render one clip of a class: uint8 (T, 3, H, W) RGB, the same for the same arguments.

    Args:
        motion: one of `MOTIONS`, which are the classes, or "still".
        seed: of everything that is drawn: textures, place, phase, period (1.1 to 1.7 s), background.
        appearance: the motion whose hue and outline the object has, or "plain", a gray disc; None draws one.
        size: height and width in pixels, even, at least 32. All lengths scale with size / 72.
        frames: T, at least 2.
        fps: frames per second. The motion depends on the time, not on the frame.
        noise: standard deviation of the Gaussian noise on every pixel, in gray levels of 255.
        distractor: probability that a smaller object with another motion and any appearance is there too.
        camera: largest amplitude of the view's slow drift, in pixels at size 72.
        speed: factor on the speed of the objects.
        contrast: factor on the textures; at 0 only outlines show the motion to a flow estimator.

    Returns:
        uint8 (T, 3, size, size), RGB.

    Raises:
        ValueError: for an unknown motion or appearance, or a number out of range.

    Examples:
        >>> render("orbit", seed=3, frames=4).shape
        torch.Size([4, 3, 72, 72])
    """
    scene = _Scene(size, frames, fps, noise, distractor, camera, speed, contrast)
    check("motion", motion, motion in (*MOTIONS, shapes.STILL), f"one of {(*MOTIONS, shapes.STILL)}")
    looks = (None, *MOTIONS, shapes.PLAIN)
    check("appearance", appearance, appearance in looks, f"one of {looks}")
    generator = Generator().manual_seed(seed)
    look = appearance or shapes.pick(MOTIONS, generator)
    return _render_frames(scene, list(_draw_objects(scene, motion, look, generator)), generator)


def _draw_objects(scene: _Scene, motion: str, look: str, g: Generator) -> Iterator[tuple[str, str, float, float]]:
    """Draw the objects, from back to front: (motion, appearance, scale, distance from the middle at size 72)."""
    if shapes.uniform(0, 1, g) < scene.distractor:
        other = shapes.pick([name for name in MOTIONS if name != motion], g)
        yield other, shapes.pick(MOTIONS, g), 0.4, 22.0
    yield motion, look, 1.0, shapes.uniform(0, 6, g)


def _render_frames(scene: _Scene, objects: Sequence[tuple[str, str, float, float]], g: Generator) -> Tensor:
    times = torch.arange(scene.frames) / scene.fps
    unit = scene.size / 72
    view = shapes.drift(times, scene.camera * unit, g)
    canvas = shapes.background(view, scene.size, scene.contrast, g)
    for motion, look, scale, distance in objects:
        radius = 14 * scale * unit * shapes.uniform(0.85, 1.15, g)
        pose = shapes.move(motion, times, radius, scene.speed, g)
        direction = shapes.uniform(0, 2 * math.pi, g)
        x = pose.x + view[0] + distance * unit * math.cos(direction)
        y = pose.y + view[1] + distance * unit * math.sin(direction)
        surface = shapes.surface(shapes.LOOKS[look], scene.contrast, g)
        canvas = shapes.paint(canvas, replace(pose, x=x, y=y), shapes.LOOKS[look], surface, radius)
    canvas = 255 * canvas + scene.noise * torch.randn(canvas.shape, generator=g)
    return canvas.round().clamp(0, 255).to(torch.uint8)


def encode(clip: Tensor, *, fps: float = 25.0) -> bytes:
    """Encode frames as an H.264 mp4 file of high quality.

    Args:
        clip: uint8 (T, 3, H, W), RGB, H and W even.
        fps: frames per second.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: `clip` has another type or shape, or no frame.

    Examples:
        >>> len(encode(render("spin", seed=1, frames=4))) > 1000
        True
    """
    even = clip.ndim == 4 and clip.shape[1] == 3 and len(clip) > 0 and not any(side % 2 for side in clip.shape[2:])
    valid = clip.dtype == torch.uint8 and even and 0 not in clip.shape
    check("clip", (clip.dtype, tuple(clip.shape)), valid, "uint8 (T, 3, H, W) with even H and W")
    file = io.BytesIO()
    write_h264(file, clip, fps=fps, options={"crf": "16", "preset": "veryfast"})
    return file.getvalue()


def write_dataset(
    root: str | os.PathLike[str],
    *,
    clips_per_class: Mapping[str, int] = CLIPS_PER_CLASS,
    classes: Sequence[str] = CLASSES,
    cues: Cues = _CUES,
    seed: int = 0,
    size: int = 72,
    frames: int = 32,
    fps: float = 25.0,
    noise: float = 6.0,
    distractor: float = 0.0,
    camera: float = 2.0,
    speed: float = 1.0,
    contrast: float = 1.0,
) -> Path:
    """Write a data set, `<split>/<class>/<clip>.mp4` and a record `synthetic.json`, into a folder.

    The folder appears when it is complete. Interrupted writing is continued by the next call from a hidden folder
    beside it, and a folder that already holds this data set is left as it is. Clips of different seeds, splits,
    classes and numbers share no random draw.

    Args:
        root: the data set's folder.
        clips_per_class: number of clips of each class by split.
        classes: two or more of `MOTIONS`. Appearances are those of the classes. The default leaves out "diagonal"
            and "rock", which look like "orbit" and "spin": a harder task has all eight.
        cues: how often motion and appearance show the class: `IndependentCues`, alike in all splits, or
            `ShortcutCue`, an appearance that misleads outside of the split "train".
        seed: of the data set.
        size: see `render`, as for all that follow.
        frames: T of the clips.
        fps: frames per second.
        noise: standard deviation of the noise.
        distractor: probability of a second, smaller object, whose motion and look are those of any class.
        camera: amplitude of the view's drift.
        speed: factor on the speed of the objects.
        contrast: factor on the textures.

    Returns:
        The folder.

    Raises:
        ValueError: for an argument out of range, or a folder that holds anything but this data set.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = write_dataset(f"{folder}/clips", clips_per_class={"train": 1}, frames=4)
        ...     sorted(path.parent.name for path in root.glob("train/*/*.mp4"))
        ['horizontal', 'orbit', 'pulse', 'shear', 'spin', 'vertical']
    """
    root = Path(root)
    scene = _Scene(size, frames, fps, noise, distractor, camera, speed, contrast)
    clips = list(_plan(clips_per_class, classes, cues, seed))
    parameters = {
        "clips_per_class": dict(clips_per_class),
        "classes": list(classes),
        "cues": {"kind": type(cues).__name__, **asdict(cues)},  # type: ignore[call-overload]
        "seed": seed,
    }
    record = {"version": VERSION, **parameters, **asdict(scene), "clips": [asdict(clip) for clip in clips]}
    write_folder(root, record, lambda folder: _fill(folder, scene, clips))
    return root


def _plan(counts: Mapping[str, int], classes: Sequence[str], cues: Cues, seed: int) -> Iterator[_Clip]:
    known = len(set(classes)) == len(classes) >= 2 and set(classes) <= set(MOTIONS)
    check("classes", classes, known, f"two or more different ones of {MOTIONS}")
    check_counts("clips_per_class", counts)
    for split, count in counts.items():
        for label in classes:
            for index, (motion, look) in enumerate(cues.draw(label, count, classes, split, seed)):
                path = f"{split}/{label}/{index:04d}.mp4"
                yield _Clip(path, motion, look, seed_of(seed, split, label, index))


def _fill(folder: Path, scene: _Scene, clips: Sequence[_Clip]) -> None:
    for clip in clips:
        (folder / clip.path).parent.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        if not (folder / clip.path).exists():
            pictures = render(clip.motion, seed=clip.seed, appearance=clip.appearance, **asdict(scene))
            write_file(folder / clip.path, encode(pictures, fps=scene.fps))
