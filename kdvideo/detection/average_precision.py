"""Frame-mAP on arrays: ActivityNet's protocol, all key frames at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdvideo.detection._matching import labelled
from kdvideo.detection._order import Array, Rows, among


class FrameBoxes(NamedTuple):
    """Boxes of any number of key frames, one row for each (box, class) pair.

    Args:
        frame: (N,) whole numbers that name key frames.
        boxes: (N, 4): x1, y1, x2, y2.
        label: (N,) class ids.
        score: (N,), higher is surer; None for ground truth.
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
    """

    mean: float
    per_class: dict[str, float]


def frame_ap(
    truth: FrameBoxes,
    detections: FrameBoxes,
    *,
    classes: Mapping[int, str],
    empty: Collection[int] = (),
    iou: float = 0.5,
    keep: int = 50,
) -> FrameMAP:
    """Average precision of the boxes of each class, over all key frames.

    On each key frame the `keep` highest (box, class) rows count. From the surest down, a detection is right if the
    ground truth of its class that it overlaps most has IoU >= `iou` and was not found before. With p(r) the highest
    precision at recall r or more, AP = ∫ p(r) dr (VOC's all-point form).

    Classes outside `classes` are dropped; detections on key frames that are neither in `truth` nor in `empty` are
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

    Raises:
        ValueError: columns of unequal length, NaN, reversed boxes, or an evaluation that could only give 0: nothing
            of the listed classes in truth or detections, no key frame in common, on none a class in common, boxes
            without area, or one side in pixels and the other in fractions.

    Examples:
        >>> box = torch.tensor([[0.1, 0.1, 0.5, 0.9]])
        >>> zero, sit = torch.tensor([0]), torch.tensor([11])
        >>> frame_ap(FrameBoxes(zero, box, sit), FrameBoxes(zero, box, sit, torch.ones(1)), classes={11: "sit"})
        FrameMAP(mean=1.0, per_class={'sit': 1.0})

    Source: ActivityNet's evaluation of AVA (Gu et al., CVPR 2018, arXiv 1705.08421); Everingham et al., "The PASCAL
    Visual Object Classes Challenge", IJCV 2010.
    """
    if not 0 < iou <= 1 or keep < 1 or not classes:
        raise ValueError(f"iou={iou}, keep={keep}, {len(classes)} classes; expected 0 < iou <= 1, keep >= 1, classes")
    evaluation = Evaluation(truth, classes, empty, iou, keep)
    known, found = evaluation.known, evaluation.counting(detections)
    _check_common(detections, known, found, classes)
    evaluation.add(found)
    result = evaluation.result()
    if not result.mean:
        _check_possible(known, found)
    return result


class Evaluation:
    """What `frame_ap` does, for detections that come in parts; all rows of a key frame are in one."""

    def __init__(
        self, truth: FrameBoxes, classes: Mapping[int, str], empty: Collection[int], iou: float = 0.5, keep: int = 50
    ) -> None:
        known = _rows(truth, "truth")
        self.frames = np.unique(np.concatenate([known.frame, np.array(sorted(empty), np.int64)]))
        known = known.take(_listed(known.label, classes))
        self.known = known.take(np.argsort(known.frame, kind="stable"))
        self.classes, self.iou, self.keep = classes, iou, keep
        self._parts: list[tuple[Array, Array, Array]] = []

    def counting(self, detections: FrameBoxes) -> Rows:
        """The rows of listed classes on key frames."""
        found = _rows(detections, "detections")
        return found.take(_listed(found.label, self.classes) & among(found.frame, self.frames))

    def add(self, found: Rows) -> None:
        """Compare rows with the ground truth."""
        self._parts.append(labelled(self.known, found, self.iou, self.keep))

    def result(self) -> FrameMAP:
        """Average precisions of the detections so far."""
        labels, scores, right = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        order = np.argsort(labels, kind="stable")
        ends = np.searchsorted(labels[order], [list(self.classes), [action + 1 for action in self.classes]])
        result = {}
        for action, name, start, end in zip(self.classes, _unique_names(self.classes), *ends.tolist(), strict=True):
            mine, total = order[start:end], int((self.known.label == action).sum())
            result[name] = _average_precision(scores[mine], right[mine], total)
        return FrameMAP(float(np.nanmean(list(result.values()))), result)


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
        raise ValueError("the detections have no score")
    columns.append(np.ones(count) if given.score is None else _array(given.score, np.float64))
    shapes = [column.shape for column in columns]
    if shapes != [(count,), (count, 4), (count,), (count,)]:
        raise ValueError(f"{name}: frame, boxes, label, score of shapes {shapes}; expected (N,), (N, 4), (N,), (N,)")
    rows = Rows(*columns)
    x1, y1, x2, y2 = rows.box.T
    if np.isnan(rows.score).any() or not ((x1 <= x2) & (y1 <= y2)).all():
        raise ValueError(f"{name}: NaN, or boxes with x1 > x2 or y1 > y2")
    return rows


def _array(column: Any, kind: type[np.generic]) -> Array:
    if isinstance(column, Tensor):
        column = column.detach().to("cpu", torch.float64 if kind is np.float64 else torch.int64).numpy()
    return np.asarray(column, kind)


def _listed(labels: Array, classes: Mapping[int, str]) -> Array:
    ids = np.fromiter(classes, np.int64)
    low, high = int(ids.min()) - 1, int(ids.max()) + 1
    if high - low > 1 << 16:
        return np.isin(labels, ids)
    table = np.isin(np.arange(low, high + 1), ids)  # quicker for tens of millions of labels
    return table.take(labels - low, mode="clip")


def _unique_names(classes: Mapping[int, str]) -> list[str]:
    names = list(classes.values())
    return [name if names.count(name) == 1 else f"{name} ({action})" for action, name in classes.items()]


def _check_common(given: FrameBoxes, known: Rows, found: Rows, classes: Mapping[int, str]) -> None:
    listed = f"the {len(classes)} listed classes (ids {min(classes)} … {max(classes)})"
    if not len(known.label):
        raise ValueError(f"no ground truth of {listed}")
    if not len(found.label):
        if not _listed(_array(given.label, np.int64), classes).any():
            raise ValueError(f"no detection of {listed}: AVA's action ids count from 1")
        raise ValueError("no detection lies on a key frame of the ground truth: compare videos and seconds")
    if not any((found.label == label).any() for label in np.unique(known.label)):
        raise ValueError(
            f"ground truth and detections have no class in common: {_some(known.label)} and {_some(found.label)}"
        )


def _check_possible(known: Rows, found: Rows) -> None:
    """Raise `ValueError` where a mean of 0 does not tell of the detector."""
    frames, place = np.unique(np.concatenate([known.frame, found.frame]), return_inverse=True)
    pairs = np.concatenate([known.label, found.label]) * len(frames) + place.reshape(-1)
    if not np.isin(pairs[: len(known.label)], pairs[len(known.label) :]).any():
        raise ValueError("on no key frame do ground truth and detections have a class in common: compare action ids")
    for rows, name in ((known, "the ground truth"), (found, "the detections")):
        if not (rows.box[:, :2] < rows.box[:, 2:]).all(1).any():
            raise ValueError(f"no box of {name} has an area; expected x1, y1, x2, y2")
    sizes = [float(np.median(rows.box.max(1))) for rows in (known, found)]
    if min(sizes) <= 1 and max(sizes) > 2:
        raise ValueError(
            f"boxes reach to {sizes[0]:g} in the ground truth and {sizes[1]:g} in the detections (medians): is one in "
            "pixels, the other in fractions of the frame?"
        )


def _some(labels: Array) -> str:
    ids = np.unique(labels).tolist()
    return f"ids {', '.join(map(str, ids[:5]))}{' …' if len(ids) > 5 else ''}"
