"""The windows of a run: frames round the key frames of AVA's files, with proposals and labels.

Legend: N proposals, M people, K classes, T frames. Boxes are fractions of the frame that is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from examples.ava.config import Config
from kdvideo import data, detection
from kdvideo.data.synthetic import localization
from kdvideo.training import settings_hash, step_seed

NONE = torch.zeros(0, 4)
ENDINGS = (".mp4", ".mkv", ".webm", ".avi", ".mov")  # AVA's videos have the first three
AVA_ACTIONS = 80  # annotations may name actions that the label map leaves out


@dataclass(frozen=True)
class Split:
    """The key frames of a split whose video is there, and the people and proposals on them."""

    name: str
    frames: tuple[detection.KeyFrame, ...]
    proposals: dict[tuple[str, float], Tensor]
    videos: dict[str, Path]
    missing: tuple[str, ...]
    classes: dict[int, str]
    unlisted: dict[int, int]
    """Rows of the annotations by action ids that the label map does not list, which are left out."""

    @property
    def fingerprint(self) -> str:
        """Hash what the split lists: key frames, boxes, labels and the sizes of the files."""
        rows = [
            [frame.video, frame.second, *(part.tolist() for part in (frame.boxes, frame.labels, self.given(frame)))]
            for frame in self.frames
        ]
        sizes = {name: path.stat().st_size for name, path in sorted(self.videos.items())}
        return settings_hash({"rows": rows, "sizes": sizes, "classes": list(self.classes.items())})

    def given(self, frame: detection.KeyFrame) -> Tensor:
        """Return the proposals of a key frame, (N, 4)."""
        return self.proposals.get((frame.video, frame.second), NONE)

    @property
    def report(self) -> str:
        """Say what a reader needs to know about the data."""
        found = f"{self.name}: {len(self.frames)} key frames of {len(self.videos)} videos"
        if self.missing:
            found += f"; {_named(self.missing)} missing"
        if self.unlisted:
            ids = _named(tuple(map(str, self.unlisted)), verb=False)
            found += f"; {sum(self.unlisted.values())} rows left out, of {ids} action ids that actions.pbtxt lacks"
        return found


def root(config: Config) -> Path:
    """Return the folder of the data; the synthetic set is written at the first call."""
    if config.root is not None:
        return config.root
    folder = config.work_dir / "localisation" / f"seed{config.data_seed}"
    return localization.write_dataset(folder, seed=config.data_seed)


def open_split(config: Config, name: str) -> Split:
    """Read the key frames of a split.

    Raises:
        ValueError: a missing or bad file, no listed action in the annotations, no proposal on any key frame, or more
            missing videos than `config.missing` allows.
    """
    folder = root(config)
    _check_files(folder, ("actions.pbtxt", f"{name}.csv", f"proposals_{name}.csv"))
    classes = detection.read_label_map(folder / "actions.pbtxt")
    truth = detection.read_annotations(folder / f"{name}.csv", num_actions=max(AVA_ACTIONS, *classes))
    ids, counts = (column.tolist() for column in torch.unique(truth.action, return_counts=True))
    unlisted = {action: count for action, count in zip(ids, counts, strict=True) if action not in classes}
    if len(unlisted) == len(ids):
        raise ValueError(f"{name}.csv has no action of actions.pbtxt: ids {ids[:5]} and {list(classes)[:5]}")
    frames = detection.key_frames(truth, classes=list(classes))
    nobody = torch.zeros(0, len(classes))
    frames += [detection.KeyFrame(video, second, NONE, nobody) for video, second in truth.empty]
    proposals = _proposals(folder / f"proposals_{name}.csv", truth, config.min_score)
    if not any((frame.video, frame.second) in proposals for frame in frames):
        raise ValueError(
            f"proposals_{name}.csv has no box with a score from {config.min_score:g} on the key frames of {name}.csv"
        )
    videos, missing = _find(folder / "videos", dict.fromkeys(frame.video for frame in frames), config.missing)
    kept = tuple(frame for frame in frames if frame.video in videos)
    return Split(name, kept, proposals, videos, missing, classes, unlisted)


def _check_files(folder: Path, names: Iterable[str]) -> None:
    lost = [name for name in names if not (folder / name).is_file()]
    if lost:
        raise ValueError(f"{folder}: no {', no '.join(lost)}; examples/ava/config.py tells what --root holds")


def _proposals(path: Path, truth: detection.Annotations, min_score: float) -> dict[tuple[str, float], Tensor]:
    table = detection.read_proposals(path, annotations=truth)
    good = table.score >= min_score
    boxes = table.boxes.float().clamp(0, 1)
    rows = {key: rows[good[rows]] for key, rows in table.by_key_frame().items()}
    return {key: boxes[kept] for key, kept in rows.items() if len(kept)}


def _find(folder: Path, names: Iterable[str], allowed: float) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The files of the videos, and the videos without one."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: no such folder; the videos belong there, each named by its id and {', '.join(ENDINGS)}"
        )
    files = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in ENDINGS}
    found = {name: files[name] for name in names if name in files}
    missing = tuple(name for name in names if name not in files)
    if not found or len(missing) > allowed * (len(found) + len(missing)):
        total = len(found) + len(missing)
        raise ValueError(
            f"{folder}: of {total} videos {_named(missing)} missing, more than the fraction {allowed:g} that --missing "
            "allows"
        )
    return found, missing


def _named(names: tuple[str, ...], *, verb: bool = True) -> str:
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names)} ({shown})" + (f" {'is' if len(names) == 1 else 'are'}" if verb else "")


class Windows(Dataset[dict[str, Any]]):
    """Windows round key frames.

    An item has "clip" (3, T, H, W) as uint8 RGB, "proposals" (N, 4), "boxes" (M, 4), "labels" (M, K), "video" and
    "second". In training the window is cropped and flipped at random, and the boxes follow; else it is the whole frame.
    """

    def __init__(self, found: Split, config: Config, *, train: bool, seed: int = 0) -> None:
        self.split, self.config, self.train, self.seed = found, config, train, seed
        self._memory: dict[str, Tensor] | None = {} if config.in_memory else None

    def __len__(self) -> int:
        return len(self.split.frames)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = index if isinstance(index, tuple) else (0, index)
        frame = self.split.frames[index]
        clip = self._window(frame)
        people = (frame.boxes.clamp(0, 1), frame.labels)
        given = self.split.given(frame)
        if self.train:
            generator = torch.Generator().manual_seed(step_seed(self.seed, epoch, index))
            clip, people, given = self._view(clip, *people, given, generator)
        item = {"clip": clip.movedim(1, 0).contiguous(), "proposals": given, "boxes": people[0], "labels": people[1]}
        return item | {"video": frame.video, "second": frame.second}

    def _window(self, frame: detection.KeyFrame) -> Tensor:
        """uint8 (T, 3, H, W)."""
        view, path = self.config.input, self.split.videos[frame.video]
        options: dict[str, Any] = {"fps": view.fps, "short_side": view.short_side}
        if self._memory is None:
            length = data.probe(path, **options).length
        else:
            if frame.video not in self._memory:
                self._memory[frame.video] = data.read_frames(path, **options)
            length = len(self._memory[frame.video])
        start = self.config.clip_start
        try:
            at = detection.key_frame_window(frame.second, view.fps, length, frames=view.frames, clip_start=start)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if self._memory is not None:
            return self._memory[frame.video][at]
        first, last = int(at.min()), int(at.max())
        return data.read_frames(path, window=range(first, last + 1), **options)[at - first]

    def _view(
        self, clip: Tensor, boxes: Tensor, labels: Tensor, given: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """A random crop, perhaps mirrored."""
        side, (height, width) = self.config.input.crop, clip.shape[-2:]
        top, left = (int(torch.randint(n - side + 1, (), generator=generator)) for n in (height, width))
        window = (left / width, top / height, (left + side) / width, (top + side) / height)
        clip = clip[..., top : top + side, left : left + side]
        boxes, kept = detection.crop(boxes, window)
        given, _ = detection.crop(given, window)
        if self.config.input.flip and torch.rand((), generator=generator) < 0.5:
            clip, boxes, given = clip.flip(-1), detection.hflip(boxes), detection.hflip(given)
        return clip, (boxes, labels[kept]), given


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Make one batch: the clips stacked, everything else as lists."""
    batch: dict[str, Any] = {name: [item[name] for item in items] for name in items[0]}
    return batch | {"clip": torch.stack(batch["clip"])}
