"""Average precision of boxes by ActivityNet's protocol, on tensors."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdvideo._hints import kind
from kdvideo.detection.matching import Rows, among, match_rows
from kdvideo.detection.row_rules import Array


class FrameBoxes(NamedTuple):
    """Boxes of any number of key frames, one row for each (box, class) pair.

    Args:
        frame: (N,) whole numbers that name key frames.
        boxes: (N, 4): x1, y1, x2, y2.
        label: (N,) class ids.
        score: (N,), higher is surer; None for ground truth.

    Examples:
        >>> frame, label = torch.tensor([0]), torch.tensor([11])
        >>> FrameBoxes(frame, torch.tensor([[0.1, 0.1, 0.5, 0.9]]), label, score=torch.tensor([0.75])).score
        tensor([0.7500])
    """

    frame: Tensor
    boxes: Tensor
    label: Tensor
    score: Tensor | None = None


class FrameMAP(NamedTuple):
    """Average precisions in [0, 1].

    Args:
        mean: over the classes that have ground truth.
        per_class: name -> AP, in the order of the list; NaN for classes without ground truth.
        left_out: rows of the ground truth whose class is not in the list.

    Examples:
        >>> result = FrameMAP(mean=0.5, per_class={"sit": 0.25, "stand": 0.75})
        >>> max(result.per_class, key=result.per_class.get)
        'stand'
    """

    mean: float
    per_class: dict[str, float]
    left_out: int = 0


def average_precision(
    truth: FrameBoxes,
    detections: FrameBoxes,
    *,
    classes: Mapping[int, str],
    empty: Collection[int] = (),
    iou: float = 0.5,
    keep: int = 50,
) -> FrameMAP:
    """Compute the average precision of the boxes of each class, over all key frames.

    On each key frame the `keep` highest (box, class) rows count. From the surest down, a detection is right if the
    ground truth of its class that it overlaps most has IoU >= `iou` and was not found before. With p(r) the highest
    precision at recall r or more, AP = ∫ p(r) dr (VOC's all-point form).

    Classes outside `classes` are left out; detections on key frames that are neither in `truth` nor in `empty` are
    ignored; boxes without area are never found. A class with ground truth and no detection has AP 0.

    Equal scores are ordered as by ActivityNet's evaluator: within a key frame as its heap leaves them, across key
    frames by numpy's `argsort`, which is not stable and may differ between machines.

    Args:
        truth: ground truth; where a score is given, it orders boxes that a detection overlaps equally.
        detections: the scored boxes.
        classes: the evaluated classes, id -> name.
        empty: key frames without ground truth on which detections are wrong.
        iou: the least overlap, in (0, 1].
        keep: rows per key frame, at least 1.

    Returns:
        Mean and per class, in [0, 1].

    Raises:
        ValueError: `classes` is no mapping or empty, `iou` or `keep` out of range, columns of unequal length, NaN,
            reversed boxes, or an evaluation that could only give 0: nothing of the listed classes in truth or
            detections, no key frame in common, on none a class in common, boxes without area, or one side in pixels and
            the other in fractions.

    Examples:
        >>> box = torch.tensor([[0.1, 0.1, 0.5, 0.9]])
        >>> zero, sit = torch.tensor([0]), torch.tensor([11])
        >>> rows = FrameBoxes(zero, box, sit, score=torch.ones(1))
        >>> average_precision(rows, rows, classes={11: "sit"})
        FrameMAP(mean=1.0, per_class={'sit': 1.0}, left_out=0)

    Source:
        ActivityNet's evaluation of AVA (Gu et al., CVPR 2018, arXiv 1705.08421); Everingham et al., "The PASCAL Visual
        Object Classes Challenge", IJCV 2010.
    """
    check_names(classes, "classes")
    if not 0 < iou <= 1 or keep < 1 or not classes:
        raise ValueError(f"iou must be in (0, 1], keep >= 1 and classes given, got {iou=}, {keep=}, {classes=}")
    evaluation = Evaluation(truth, classes, empty, iou, keep)
    evaluation.add(detections)
    result = evaluation.result()
    if not result.mean:
        sizes = [float(np.median(_array(rows.boxes, np.float64).max(1))) for rows in (truth, detections)]
        if min(sizes) <= 1 and max(sizes) > 2:
            raise ValueError(
                "boxes must all be in pixels or all be fractions of the frame, got boxes that reach to "
                f"{sizes[0]:g} in the ground truth and {sizes[1]:g} in the detections (medians)"
            )
    return result


def check_names(classes: object, name: str) -> None:
    """Raise ValueError unless classes are named by their ids."""
    if not isinstance(classes, Mapping):
        raise ValueError(f"{name} must map ids to names, got {kind(classes)}: dict(enumerate(names, 1)) counts from 1")


class Evaluation:
    """What `average_precision` computes, for detections in parts, each with all rows of its key frames."""

    def __init__(
        self, truth: FrameBoxes, classes: Mapping[int, str], empty: Collection[int], iou: float = 0.5, keep: int = 50
    ) -> None:
        known = _rows(truth, "truth")
        self.frames = np.unique(np.concatenate([known.frame, np.array(sorted(empty), np.int64)]))
        self.classes, self.iou, self.keep = classes, iou, keep
        self._ids = np.fromiter(classes, np.int64)
        listed = np.isin(known.label, self._ids)
        self._left_out = int((~listed).sum())
        known = known.take(listed)
        self._known = known.take(np.argsort(known.frame, kind="stable"))
        self._any_listed = self.on_key_frames = self._any_area = self._comparable = False
        self._labels: set[int] = set()
        self._parts: list[tuple[Array, Array, Array]] = []

    def add(self, detections: FrameBoxes) -> None:
        """Match the rows of listed classes on key frames to the ground truth."""
        found = _rows(detections, "detections")
        listed = np.isin(found.label, self._ids)
        found = found.take(listed & among(found.frame, self.frames))
        self._any_listed = self._any_listed or bool(listed.any())
        self._any_area = self._any_area or _has_area(found)
        if not self._comparable:
            self._labels.update(np.unique(found.label).tolist())
            self._comparable = _share_a_group(self._known, found)
        self.on_key_frames = self.on_key_frames or len(found.label) > 0
        self._parts.append(match_rows(self._known, found, self.iou, self.keep))

    def result(self) -> FrameMAP:
        """Compute the average precisions of the detections so far.

        Raises:
            ValueError: the mean could only be 0, whatever the detector finds.
        """
        self._check()
        labels, scores, right = map(np.concatenate, zip(*self._parts, strict=True))
        order = np.argsort(labels, kind="stable")
        ends = np.searchsorted(labels[order], [self._ids, self._ids + 1])
        names = list(self.classes.values())
        result = {}
        for (action, name), start, end in zip(self.classes.items(), *ends.tolist(), strict=True):
            mine, total = order[start:end], int((self._known.label == action).sum())
            unique = name if names.count(name) == 1 else f"{name} ({action})"
            result[unique] = _average_precision(scores[mine], right[mine], total)
        return FrameMAP(float(np.nanmean(list(result.values()))), result, self._left_out)

    def _check(self) -> None:
        """Refuse what could only give 0."""
        known = np.unique(self._known.label)
        listed = f"the {len(self.classes)} listed classes (ids {self._ids.min()} … {self._ids.max()})"
        if not len(known):
            raise ValueError(f"no ground truth of {listed}")
        if not self._any_listed:
            raise ValueError(f"no detection of {listed}: AVA's action ids count from 1")
        if not self.on_key_frames:
            raise ValueError("no detection lies on a key frame of the ground truth: compare videos and seconds")
        if not self._comparable:
            ids = [_some(sorted(labels)) for labels in (known.tolist(), self._labels)]
            place = "on no key frame do" if self._labels.intersection(known.tolist()) else "nowhere do"
            raise ValueError(f"{place} ground truth ({ids[0]}) and detections ({ids[1]}) have a class in common")
        for name, there in (("ground truth", _has_area(self._known)), ("detections", self._any_area)):
            if not there:
                raise ValueError(f"boxes must be x1, y1, x2, y2, got no box of the {name} that has an area")


def _average_precision(score: Array, right: Array, total: int) -> float:
    if not total:
        return math.nan
    if not len(score):
        return 0.0
    hits = np.cumsum(right[np.argsort(score)[::-1]])  # the evaluator's own sort: ties come out as there
    precision = hits / np.arange(1, len(hits) + 1)
    recall = np.concatenate([[0], hits / total, [1]])
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(np.sum((recall[steps + 1] - recall[steps]) * envelope[steps]))


def _rows(given: FrameBoxes, name: str) -> Rows:
    columns = [_array(given.frame, np.int64), _array(given.boxes, np.float64), _array(given.label, np.int64)]
    count = len(columns[0])
    if given.score is None and name == "detections":
        raise ValueError("the detections must have a score, got None")
    columns.append(np.ones(count) if given.score is None else _array(given.score, np.float64))
    shapes = [column.shape for column in columns]
    if shapes != [(count,), (count, 4), (count,), (count,)]:
        raise ValueError(f"{name}: frame, boxes, label, score must be (N,), (N, 4), (N,), (N,), got {shapes}")
    rows = Rows(*columns)
    x1, y1, x2, y2 = rows.box.T
    if np.isnan(rows.score).any() or not ((x1 <= x2) & (y1 <= y2)).all():
        raise ValueError(f"{name}: boxes must have x1 <= x2 and y1 <= y2, got NaN or reversed boxes")
    return rows


def _array(column: Any, kind: type[np.generic]) -> Array:
    if isinstance(column, Tensor):
        column = column.detach().to("cpu", torch.float64 if kind is np.float64 else torch.int64).numpy()
    return np.asarray(column, kind)


def _has_area(rows: Rows) -> bool:
    return bool((rows.box[:, :2] < rows.box[:, 2:]).all(1).any())


def _share_a_group(known: Rows, found: Rows) -> bool:
    """Return whether both have a class in common on a key frame."""
    frames, place = np.unique(np.concatenate([known.frame, found.frame]), return_inverse=True)
    pairs = np.concatenate([known.label, found.label]) * len(frames) + place.reshape(-1)
    return bool(np.isin(pairs[: len(known.label)], pairs[len(known.label) :]).any())


def _some(ids: Sequence[int]) -> str:
    return f"ids {', '.join(map(str, ids[:5]))}{' …' if len(ids) > 5 else ''}"
