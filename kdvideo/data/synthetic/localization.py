"""Synthetic action localization: mp4 files of several moving shapes, with boxes and actions in AVA's csv files.

Every actor does one action, or two at once; some shapes do nothing: the proposals have them, the annotations do not.
As in `kdvideo.data.synthetic`, no frame shows the action, a mirrored clip keeps it, and hue and outline are a partial,
misleading cue to an actor's (first) action in the split "train" and none in the others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from kdvideo.data.synthetic.actors import TRAVEL, Actor, Scene, draw_trajectories, render_frames
from kdvideo.data.synthetic.cues import draw_appearances
from kdvideo.data.synthetic.dataset_folder import write_file, write_folder
from kdvideo.data.synthetic.motions import CLASSES, encode
from kdvideo.data.synthetic.seeding import check, check_counts, seed_of
from kdvideo.data.synthetic.shapes import pick, uniform

__all__ = ["ACTIONS", "CLIP_START", "VIDEOS", "Actor", "render", "write_dataset"]

ACTIONS: Mapping[int, str] = dict(enumerate(CLASSES, 1))
CLIP_START = 900  # the second at which the files start, as AVA's do
VIDEOS: Mapping[str, int] = {"train": 80, "val": 24, "test": 48}
VERSION = 1  # of pictures, boxes and proposals: raise it with every change to them, so that old folders are refused


@dataclass(frozen=True)
class _Video:
    name: str
    split: str
    seed: int
    actors: tuple[Actor, ...]


def render(
    actors: Sequence[Actor],
    *,
    seed: int,
    size: int = 96,
    frames: int = 100,
    fps: float = 25.0,
    noise: float = 6.0,
    camera: float = 2.0,
    speed: float = 1.0,
    contrast: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Render one video of N actors and their boxes.

    Args:
        actors: 1 to 4, from back to front.
        seed: of everything that is drawn: places, radii, phases, textures.
        size: H, a multiple of 6 from 48; W is 4/3 of it. All lengths scale with size / 96.
        frames: T, at least 2.
        fps: frames per second. The motion depends on the time, not on the frame.
        noise: standard deviation of the Gaussian noise on every pixel, in gray levels of 255.
        camera: largest amplitude of the view's slow drift, in pixels at size 96.
        speed: factor on the speed of the actors.
        contrast: factor on the textures.

    Returns:
        The video, uint8 (T, 3, H, W), RGB, and the boxes, (T, N, 4): (x1, y1, x2, y2) as fractions of the frame.

    Raises:
        ValueError: a number out of range.

    Examples:
        >>> video, boxes = render([Actor(("spin",), "orbit"), Actor((), "pulse")], seed=3, frames=4)
        >>> video.shape, boxes.shape
        (torch.Size([4, 3, 96, 128]), torch.Size([4, 2, 4]))
    """
    scene = Scene(size, frames, fps, noise, camera, speed, contrast)
    generator = Generator().manual_seed(seed)
    trajectories = draw_trajectories(scene, actors, generator)
    return render_frames(scene, trajectories, generator), trajectories.boxes(scene)


def write_dataset(
    root: str | os.PathLike[str],
    *,
    videos: Mapping[str, int] = VIDEOS,
    cue: float = 0.6,
    two_actions: float = 0.3,
    bystanders: float = 0.5,
    seed: int = 0,
    size: int = 96,
    seconds: int = 4,
    fps: float = 25.0,
    noise: float = 6.0,
    camera: float = 2.0,
    speed: float = 1.0,
    contrast: float = 1.0,
) -> Path:
    """Write a data set in AVA's form into a folder.

    ```
    videos/<split>_<number>.mp4      they start at second 900
    <split>.csv                      video,second,x1,y1,x2,y2,action,person; key frames 901 … 900 + seconds - 1
    proposals_<split>.csv            video,second,x1,y1,x2,y2,score: jittered, some twice, some without an actor
    actions.pbtxt                    the label map
    synthetic.json                   the settings and what was drawn
    ```

    As with `kdvideo.data.synthetic.write_dataset`, the folder appears when it is complete, interrupted writing is
    continued, and a folder that holds this data set is left as it is. Videos of different seeds, splits and numbers
    share no random draw: no texture of one is in another.

    Args:
        root: the folder.
        videos: number of videos by split, each with 2 or 3 actors; only "train" has the cue.
        cue: fraction of the training actors whose look is that of their first action.
        two_actions: probability that an actor does a second action.
        bystanders: probability that there is another shape, which does nothing.
        seed: of the data set.
        size: see `render`.
        seconds: length of the videos, at least 2.
        fps: frames per second, a whole number.
        noise: see `render`, as for all that follow.
        camera: amplitude of the view's drift.
        speed: factor on the speed of the actors.
        contrast: factor on the textures.

    Returns:
        The folder.

    Raises:
        ValueError: for an argument out of range, or a folder that holds anything but this data set.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = write_dataset(f"{folder}/set", videos={"train": 1}, size=48, seconds=2, fps=5)
        ...     sorted(str(path.relative_to(root)) for path in root.rglob("*.*"))
        ['actions.pbtxt', 'proposals_train.csv', 'synthetic.json', 'train.csv', 'videos/train_0000.mp4']
    """
    root = Path(root)
    check("seconds", seconds, seconds >= 2, "at least 2")
    check("fps", fps, fps > 0 and float(fps).is_integer(), "a whole number above 0")  # key frames lie on whole seconds
    scene = Scene(size, int(seconds * fps), fps, noise, camera, speed, contrast)
    chances = {"cue": cue, "two_actions": two_actions, "bystanders": bystanders}
    for name, value in chances.items():
        check(name, value, 0 <= value <= 1, "a fraction in [0, 1]")
    plan = list(_plan(videos, cue, two_actions, bystanders, seed))
    settings = {"videos": dict(videos), **chances, "seed": seed, "seconds": seconds, **asdict(scene)}
    clips = json.loads(json.dumps([asdict(video) for video in plan]))  # JSON knows no tuples
    record = {"kind": "localisation", "version": VERSION, **settings, "clips": clips}
    write_folder(root, record, lambda folder: _fill(folder, scene, plan))
    return root


def _plan(videos: Mapping[str, int], cue: float, two: float, bystanders: float, seed: int) -> Iterator[_Video]:
    check_counts("videos", videos)
    for split, count in videos.items():
        g = Generator().manual_seed(seed_of(seed, split, "localisation"))
        sizes = torch.randint(2, 4, (count,), generator=g).tolist()
        actors = _draw_actors(sum(sizes), cue if split == "train" else None, two, (seed, f"people of {split}"), g)
        for number, size in enumerate(sizes):
            shown = [next(actors) for _ in range(size)]
            if uniform(0, 1, g) < bystanders:
                shown.insert(0, Actor((), pick(CLASSES, g)))
            yield _Video(f"{split}_{number:04d}", split, seed_of(seed, split, number), tuple(shown))


def _draw_actors(count: int, cue: float | None, two: float, seed: tuple[int, str], g: Generator) -> Iterator[Actor]:
    """Draw actors in random order: first actions equally often, appearances in exact shares."""
    first = [CLASSES[place % len(CLASSES)] for place in torch.randperm(count, generator=g).tolist()]
    looks = {
        name: iter(draw_appearances(name, first.count(name), CLASSES, cue, seed=seed)) for name in dict.fromkeys(first)
    }
    for name in first:
        other = [second for second in CLASSES if (second in TRAVEL) != (name in TRAVEL)]
        second = (pick(other, g),) if uniform(0, 1, g) < two else ()
        yield Actor((name, *second), next(looks[name]))


def _fill(folder: Path, scene: Scene, plan: Sequence[_Video]) -> None:
    (folder / "videos").mkdir(exist_ok=True)
    tables: dict[str, list[str]] = {}
    for video in plan:
        generator = Generator().manual_seed(video.seed)
        trajectories = draw_trajectories(scene, video.actors, generator)
        path = folder / "videos" / f"{video.name}.mp4"
        if not path.exists():
            write_file(path, encode(render_frames(scene, trajectories, generator), fps=scene.fps))
        boxes = trajectories.boxes(scene)[int(scene.fps) :: int(scene.fps)]  # of the seconds 1, 2, …
        tables.setdefault(f"{video.split}.csv", []).extend(_annotations(video, boxes))
        tables.setdefault(f"proposals_{video.split}.csv", []).extend(_proposals(video, boxes))
    for name, lines in tables.items():
        write_file(folder / name, "".join(lines).encode())
    items = [f'item {{\n  name: "{name}"\n  id: {number}\n}}\n' for number, name in ACTIONS.items()]
    write_file(folder / "actions.pbtxt", "".join(items).encode())


def _video_second_box(video: _Video, step: int, box: Tensor) -> str:
    corners = ",".join(f"{value:.3f}" for value in box.tolist())
    return f"{video.name},{CLIP_START + 1 + step:04d},{corners}"


def _annotations(video: _Video, boxes: Tensor) -> Iterator[str]:
    number = {name: action for action, name in ACTIONS.items()}
    for step, frame in enumerate(boxes):
        for person, (actor, box) in enumerate(zip(video.actors, frame, strict=True)):
            for action in actor.actions:
                yield f"{_video_second_box(video, step, box)},{number[action]},{person}\n"


def _proposals(video: _Video, boxes: Tensor) -> Iterator[str]:
    """List the proposals: every shape once or twice, a few per cent off, and two boxes at random places."""
    g = Generator().manual_seed(seed_of(video.seed, "proposals"))
    for step, frame in enumerate(boxes):
        for box in frame:
            for _ in range(1 + int(uniform(0, 1, g) < 0.4)):
                yield f"{_video_second_box(video, step, _jittered(box, g))},{uniform(0.5, 1, g):.3f}\n"
        for box in frame[torch.randint(len(frame), (2,), generator=g)]:
            size = box[2:] - box[:2]
            low = (1 - size) * torch.rand(2, generator=g)
            yield f"{_video_second_box(video, step, torch.cat([low, low + size]))},{uniform(0.1, 0.7, g):.3f}\n"


def _jittered(box: Tensor, g: Generator) -> Tensor:
    size = (box[2:] - box[:2]).repeat(2)
    return (box + 0.06 * size * torch.randn(4, generator=g).clamp(-2, 2)).clamp(0, 1)
