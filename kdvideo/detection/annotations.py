"""Tables of boxes on the key frames of videos, row by row as in AVA's files, and the training targets made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

ACTIONS = 80  # action ids of AVA count from 1 to this
KeyFrameId = tuple[str, float]


@dataclass(frozen=True, eq=False)
class Boxes:
    """N boxes, each on a key frame: a video and a second.

    Attributes:
        videos: the names of the videos.
        video: (N,) int64, where in `videos`.
        second: (N,) float64, seconds from the start of the whole video.
        boxes: (N, 4) float64, x1, y1, x2, y2 as fractions of width and height.

    Examples:
        >>> corners = torch.tensor([[0.1, 0.1, 0.4, 0.9], [0.5, 0.2, 0.9, 0.9]]).double()
        >>> table = Boxes(("clip",), torch.tensor([0, 0]), torch.tensor([902.0, 903.0]).double(), corners)
        >>> len(table), list(table.by_key_frame())
        (2, [('clip', 902.0), ('clip', 903.0)])
    """

    videos: tuple[str, ...]
    video: Tensor
    second: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.video)

    def by_key_frame(self) -> dict[KeyFrameId, Tensor]:
        """Group the rows by key frame; key frames are in the order of their first row.

        Returns:
            (video, second) -> the numbers of its rows, int64, in order.

        Examples:
            >>> one = torch.tensor([[0.1, 0.1, 0.4, 0.9]]).double()
            >>> table = Boxes(("a", "b"), torch.tensor([1, 0, 1]), torch.tensor([902.0, 903, 902]), one.expand(3, 4))
            >>> table.by_key_frame()
            {('b', 902.0): tensor([0, 2]), ('a', 903.0): tensor([1])}
        """
        rows: dict[tuple[int, float], list[int]] = {}
        for row, key in enumerate(zip(self.video.tolist(), self.second.tolist(), strict=True)):
            rows.setdefault(key, []).append(row)
        return {(self.videos[video], second): torch.tensor(found) for (video, second), found in rows.items()}


@dataclass(frozen=True, eq=False)
class Annotations(Boxes):
    """Ground truth: one row for each action of each person.

    Attributes:
        action: (N,) int64 ids from 1, as in the file.
        person: (N,) int64; -1 where the file has none.
        empty: key frames that the file names without a box.
        videos: as in `Boxes`.
        video: as in `Boxes`.
        second: as in `Boxes`.
        boxes: as in `Boxes`.

    Examples:
        >>> one = torch.zeros(1, dtype=torch.int64)
        >>> place = (("clip",), one, torch.tensor([902.0]).double(), torch.tensor([[0.1, 0.1, 0.4, 0.9]]).double())
        >>> rows = Annotations(*place, action=one + 12, person=one)
        >>> rows.videos, rows.action, rows.empty
        (('clip',), tensor([12]), ())
    """

    action: Tensor
    person: Tensor
    empty: tuple[KeyFrameId, ...] = ()


@dataclass(frozen=True, eq=False)
class Detections(Boxes):
    """Detections: one row for each (box, action) pair.

    Attributes:
        action: (N,) int64 ids from 1.
        score: (N,) float64, higher is more certain.
        videos: as in `Boxes`.
        video: as in `Boxes`.
        second: as in `Boxes`.
        boxes: as in `Boxes`.

    Examples:
        >>> one = torch.zeros(1, dtype=torch.int64)
        >>> place = (("clip",), one, torch.tensor([902.0]).double(), torch.tensor([[0.1, 0.1, 0.4, 0.9]]).double())
        >>> rows = Detections(*place, action=one + 12, score=torch.tensor([0.9]).double())
        >>> len(rows), rows.action
        (1, tensor([12]))
    """

    action: Tensor
    score: Tensor

    @staticmethod
    def from_scores(
        key_frames: Iterable[tuple[str, float, Tensor, Tensor]], *, classes: Sequence[int] = range(1, ACTIONS + 1)
    ) -> Detections:
        """Make a row of every (box, class) pair of every key frame.

        Args:
            key_frames: (video, second, boxes (N, 4), scores (N, K)); boxes are clipped to the frame.
            classes: the K action ids, from 1, in the order of the scores.

        Returns:
            N · K rows for each key frame, those of one box together.

        Raises:
            ValueError: a key frame whose shapes are not (N, 4) and (N, K), ids under 1 or given twice, scores that are
                not finite, reversed boxes, or most boxes outside the frame, as pixels are.

        Examples:
            >>> boxes, scores = torch.rand(2, 2).repeat(1, 2), torch.rand(2, 3)
            >>> rows = Detections.from_scores([("clip", 902, boxes, scores)], classes=(4, 7, 9))
            >>> len(rows), rows.action.tolist()
            (6, [4, 7, 9, 4, 7, 9])
        """
        names: dict[str, int] = {}
        ids = torch.tensor(list(_columns(classes)), dtype=torch.int64)
        parts: list[tuple[Tensor, ...]] = []
        for video, second, boxes, scores in key_frames:
            count = len(boxes)
            if boxes.shape != (count, 4) or scores.shape != (count, len(ids)):
                raise ValueError(
                    f"{video}, second {second}: boxes and scores must be (N, 4) and (N, {len(ids)}), a score for each "
                    f"of the classes, got {tuple(boxes.shape)} and {tuple(scores.shape)}"
                )
            index = names.setdefault(video, len(names))
            rows = count * len(ids)
            parts.append(
                (
                    torch.full((rows,), index),
                    torch.full((rows,), float(second), dtype=torch.float64),
                    boxes.detach().cpu().double().repeat_interleave(len(ids), 0),
                    ids.repeat(count),
                    scores.detach().cpu().double().reshape(-1),
                )
            )
        if not parts:
            raise ValueError("key_frames must not be empty, got no key frame")
        video_of, seconds, corners, actions, values = (torch.cat(column) for column in zip(*parts, strict=True))
        found = Detections(tuple(names), video_of, seconds, corners, actions, values)
        _check_scored(found)
        return replace(found, boxes=corners.clamp(0, 1))


def _check_scored(rows: Detections) -> None:
    """Raise `ValueError` for what clipping would hide."""
    x1, y1, x2, y2 = rows.boxes.T
    wrong = ~(rows.score.isfinite() & (x1 <= x2) & (y1 <= y2))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        place = f"{rows.videos[rows.video[row]]}, second {float(rows.second[row]):g}"
        raise ValueError(
            f"{place}: boxes and scores must be finite numbers, with x1 <= x2 and y1 <= y2, got box "
            f"{rows.boxes[row].tolist()} with score {float(rows.score[row])}"
        )
    outside = (x1 >= 1) | (y1 >= 1) | (x2 <= 0) | (y2 <= 0)
    if outside.double().mean() > 0.5:
        example = rows.boxes[outside][0].tolist()
        raise ValueError(
            f"boxes must be fractions of width and height, not pixels, got {int(outside.sum())} of {len(rows)} rows "
            f"with boxes outside the frame, such as {example}"
        )


@dataclass(frozen=True, eq=False)
class Proposals(Boxes):
    """Person boxes of a detector.

    Attributes:
        score: (N,) float64, the detector's score that this is a person.
        videos: as in `Boxes`.
        video: as in `Boxes`.
        second: as in `Boxes`.
        boxes: as in `Boxes`.

    Examples:
        >>> one = torch.zeros(1, dtype=torch.int64)
        >>> place = (("clip",), one, torch.tensor([902.0]).double(), torch.tensor([[0.1, 0.1, 0.4, 0.9]]).double())
        >>> len(Proposals(*place, score=torch.tensor([0.9]).double()))
        1
    """

    score: Tensor


class KeyFrame(NamedTuple):
    """The people on one key frame, for training.

    Args:
        video: its name.
        second: of the whole video.
        boxes: (N, 4) float32 fractions, one for each person.
        labels: (N, K) float32, 1 for each action of the person.

    Examples:
        >>> boxes, labels = torch.tensor([[0.1, 0.1, 0.4, 0.9]]), torch.tensor([[1.0, 0.0, 1.0]])
        >>> KeyFrame("clip", 902.0, boxes, labels).labels.sum(1)  # one person, two actions
        tensor([2.])
    """

    video: str
    second: float
    boxes: Tensor
    labels: Tensor


def key_frames(annotations: Annotations, *, classes: Sequence[int] = range(1, ACTIONS + 1)) -> list[KeyFrame]:
    """Make targets of ground truth: a row for each person of a key frame, with a column for each class.

    Rows with the same person and box are one person. People whose actions are all outside `classes` stay, with zeros.

    Args:
        annotations: what `read_annotations` gives.
        classes: action ids, from 1, in the order of the network's K outputs.

    Returns:
        The key frames with a box, in the order of their first row.

    Raises:
        ValueError: a class is given twice, or with an id under 1.

    Examples:
        >>> box = torch.tensor([[0.1, 0.1, 0.4, 0.9]]).double().expand(2, 4)
        >>> twice = torch.zeros(2, dtype=torch.int64)
        >>> rows = Annotations(("clip",), twice, torch.tensor([902.0, 902]), box, torch.tensor([12, 17]), twice)
        >>> key_frames(rows, classes=(12, 14, 17))[0].labels
        tensor([[1., 0., 1.]])
    """
    column = _columns(classes)
    found = []
    for (video, second), rows in annotations.by_key_frame().items():
        people = torch.column_stack([annotations.person[rows].double(), annotations.boxes[rows]]).numpy()
        _, first, person = np.unique(people, axis=0, return_index=True, return_inverse=True)
        labels = torch.zeros(len(first), len(column))
        for number, action in zip(person.reshape(-1).tolist(), annotations.action[rows].tolist(), strict=True):
            if action in column:
                labels[number, column[action]] = 1
        order = torch.from_numpy(np.argsort(first))
        boxes = annotations.boxes[rows[torch.from_numpy(first)]]
        found.append(KeyFrame(video, second, boxes[order].float(), labels[order]))
    return found


def _columns(classes: Sequence[int]) -> dict[int, int]:
    """Return action id -> number of its column."""
    column = {action: number for number, action in enumerate(classes)}
    if len(column) != len(classes):
        raise ValueError(f"classes must be given once each, got one twice in {list(classes)}")
    if column and min(column) < 1:
        raise ValueError(f"action ids must be 1 or more, got {min(column)} in classes")
    return column
