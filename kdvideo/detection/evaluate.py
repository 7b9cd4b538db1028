"""Frame-mAP of AVA's files."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from kdvideo.detection._csv import Array, PathLike
from kdvideo.detection._order import among, runs
from kdvideo.detection._shift import LOW, check_shift
from kdvideo.detection.average_precision import Evaluation, FrameBoxes, FrameMAP, frame_ap
from kdvideo.detection.label_map import read_label_map
from kdvideo.detection.reading import (
    MAX_SECOND,
    check_table,
    check_videos,
    read_annotations,
    read_detections,
    read_excluded,
    read_parts,
)
from kdvideo.detection.tables import ACTIONS, Annotations, Boxes, Detections, KeyFrameId

_SHIFT = 40  # a key frame as one number: the video, and 40 bits of microseconds


def frame_map(
    ground_truth: PathLike | Annotations,
    detections: PathLike | Detections,
    label_map: PathLike | Mapping[int, str],
    *,
    excluded: PathLike | Collection[KeyFrameId] | None = None,
) -> FrameMAP:
    """AVA's frame-mAP at IoU 0.5, to the number that ActivityNet's official evaluation gives.

    The protocol is that of `frame_ap`. Key frames are those that the ground truth names, with or without a box of
    the listed classes; detections on other seconds of its videos are ignored. Seconds are equal if they are so to
    the microsecond: 902, 0902 and 902.0 are one.

    Args:
        ground_truth: a csv file with rows `video,second,x1,y1,x2,y2,action,person`, or what `read_annotations` gives.
        detections: a csv file with rows `video,second,x1,y1,x2,y2,action,score`, or `Detections`.
        label_map: the evaluated classes as a `.pbtxt` file, or id -> name. Names given twice are told apart by id.
        excluded: a csv file with rows `video,second`, or such pairs: left out of ground truth and detections.

    Raises:
        ValueError: a bad file (see `read_annotations`) or table (by the same rules), ids under 1 in the label map,
            detections of videos that the ground truth does not have, or an evaluation that could only give 0: all key
            frames excluded, no key frame in common, on none a class in common, boxes without area. Also where the
            detections' action ids seem shifted: one higher or lower they would give at least five times the mean.

    Examples:
        >>> box, number = torch.tensor([[0.1, 0.1, 0.4, 0.9]]).double(), torch.tensor([0])
        >>> place = (("clip",), number, torch.tensor([902.0]).double(), box)
        >>> truth = Annotations(*place, action=torch.tensor([11]), person=number)
        >>> found = Detections(*place, action=torch.tensor([11]), score=torch.ones(1).double())
        >>> frame_map(truth, found, {11: "sit", 12: "stand"})
        FrameMAP(mean=1.0, per_class={'sit': 1.0, 'stand': nan})

    Source: ActivityNet's evaluation code; Gu et al., CVPR 2018, arXiv 1705.08421.
    """
    classes = label_map if isinstance(label_map, Mapping) else read_label_map(label_map)
    if not classes or not all(isinstance(action, int | np.integer) and action >= 1 for action in classes):
        raise ValueError(f"label_map {dict(classes)}; expected id -> name with ids from 1, as read_label_map gives")
    actions = max(ACTIONS, *classes)
    truth = ground_truth
    if isinstance(truth, Annotations):
        check_table(truth, "the ground truth", num_actions=actions)
    else:
        truth = read_annotations(truth, num_actions=actions)
    if isinstance(detections, Detections):
        found, source = detections, "the detections"
        check_table(found, source, num_actions=actions)
    else:
        with suppress(ImportError, KeyError, ValueError):  # what is wrong, if anything, is found out below
            return _by_parts(truth, detections, classes, _read_excluded(excluded), actions)
        found, source = read_detections(detections, num_actions=actions), os.fspath(detections)
    check_videos(found, truth, source)
    return _evaluate(truth, found, classes, _read_excluded(excluded))


def _read_excluded(excluded: PathLike | Collection[KeyFrameId] | None) -> Collection[KeyFrameId]:
    return read_excluded(excluded) if isinstance(excluded, str | os.PathLike) else excluded or ()


class _Places:
    """Videos and key frames of the ground truth as numbers."""

    def __init__(self, truth: Annotations, left_out: Collection[KeyFrameId]) -> None:
        wrong = [key for key in left_out if not 0 <= key[1] <= MAX_SECOND]
        if wrong:
            raise ValueError(f"excluded has {wrong[0]}; expected a video and a second in 0 … {MAX_SECOND:g}")
        names = [*truth.videos, *(video for video, _ in truth.empty)]
        self.number = {name: place for place, name in enumerate(dict.fromkeys(names))}
        self.dropped = {_key(self.number[video], second) for video, second in left_out if video in self.number}
        self.empty = {_key(self.number[video], second) for video, second in truth.empty}

    def rows(self, given: Boxes, *columns: Tensor) -> FrameBoxes:
        """The rows on key frames that are not left out."""
        frame = _frames(given, self.number)
        rows = FrameBoxes(torch.from_numpy(frame), given.boxes, *columns)
        if not self.dropped:
            return rows
        keep = torch.from_numpy(~among(frame, sorted(self.dropped)))
        return FrameBoxes(*(column[keep] for column in rows if column is not None))


def _by_parts(
    truth: Annotations, path: PathLike, classes: Mapping[int, str], left_out: Collection[KeyFrameId], actions: int
) -> FrameMAP:
    """As `_evaluate`, but the rows of tens of millions of a file are not in memory at once.

    Raises:
        ImportError, KeyError, ValueError: wherever `_evaluate` has something to tell or needs all rows.
    """
    places = _Places(truth, left_out)
    evaluation = Evaluation(places.rows(truth, truth.action, truth.person.double()), classes, places.empty)
    if not len(evaluation.known.label):
        raise ValueError("no ground truth")
    seen: set[int] = set()
    for part in read_parts(path, num_actions=actions):
        rows = places.rows(part, part.action, part.score)
        frames = rows.frame.numpy()
        heads, before = frames[runs(frames)[:-1]].tolist(), len(seen)
        seen.update(heads)
        if len(seen) < before + len(heads):
            raise ValueError("the rows of a key frame are not together")
        evaluation.add(evaluation.counting(rows))
    result = evaluation.result()
    if not result.mean >= LOW:
        raise ValueError("close to 0")
    return result


def _evaluate(
    truth: Annotations, found: Detections, classes: Mapping[int, str], left_out: Collection[KeyFrameId]
) -> FrameMAP:
    places = _Places(truth, left_out)
    empty = places.empty
    people = places.rows(truth, truth.action, truth.person.double())
    boxes = places.rows(found, found.action, found.score)
    known = people.frame.numpy()
    named = np.sort(np.append(known[runs(known)[:-1]], np.fromiter(empty, np.int64)))
    if not among(boxes.frame.numpy(), named).any():
        if not len(known) and empty <= places.dropped:
            raise ValueError("all key frames of the ground truth are excluded")
        raise ValueError(
            "no detection lies on a key frame of the ground truth: it names "
            f"{_times(truth.second)}, the detections {_times(found.second)} (seconds of the whole video, not frames)"
        )
    try:
        result = frame_ap(people, boxes, classes=classes, empty=empty)
    except ValueError:
        check_shift(0.0, people, boxes, classes, empty)
        raise
    check_shift(result.mean, people, boxes, classes, empty)
    return result


def _frames(rows: Boxes, number: Mapping[str, int]) -> Array:
    videos = np.array([number[name] for name in rows.videos], np.int64)
    video, second = rows.video.numpy(), rows.second.double().numpy()
    starts = runs(video, second)
    heads = starts[:-1]
    microseconds = np.rint(second[heads] * 1e6).astype(np.int64)
    return np.repeat(microseconds + (videos << _SHIFT)[video[heads]], np.diff(starts))


def _key(video: int, second: float) -> int:
    return (video << _SHIFT) + round(second * 1e6)


def _times(seconds: Tensor) -> str:
    return f"seconds {float(seconds.min()):g} … {float(seconds.max()):g}"
