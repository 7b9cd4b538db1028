"""Frame-mAP of AVA's files."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from kdvideo.detection._csv import Array, PathLike
from kdvideo.detection._order import among, runs
from kdvideo.detection._shift import check_shift
from kdvideo.detection.average_precision import FrameBoxes, FrameMAP, frame_ap
from kdvideo.detection.label_map import read_label_map
from kdvideo.detection.reading import (
    MAX_SECOND,
    check_table,
    check_videos,
    read_annotations,
    read_detections,
    read_excluded,
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
    found = detections
    if isinstance(found, Detections):
        check_table(found, "the detections", num_actions=actions)
    else:
        found = read_detections(found, num_actions=actions)
    check_videos(found, truth, "the detections" if isinstance(detections, Detections) else os.fspath(detections))
    if isinstance(excluded, str | os.PathLike):
        excluded = read_excluded(excluded)
    return _evaluate(truth, found, classes, excluded or ())


def _evaluate(
    truth: Annotations, found: Detections, classes: Mapping[int, str], left_out: Collection[KeyFrameId]
) -> FrameMAP:
    wrong = [key for key in left_out if not 0 <= key[1] <= MAX_SECOND]
    if wrong:
        raise ValueError(f"excluded has {wrong[0]}; expected a video and a second in 0 … {MAX_SECOND:g}")
    names = [*truth.videos, *(video for video, _ in truth.empty)]
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    dropped = {_key(number[video], second) for video, second in left_out if video in number}
    empty = {_key(number[video], second) for video, second in truth.empty}
    known, scored = _frames(truth, number), _frames(found, number)
    keep = [~among(frame, sorted(dropped)) if dropped else slice(None) for frame in (known, scored)]
    known, scored = known[keep[0]], scored[keep[1]]
    named = np.concatenate([known[runs(known)[:-1]], np.fromiter(empty, np.int64)])
    if not among(scored, named).any():
        if not len(known) and empty <= dropped:
            raise ValueError("all key frames of the ground truth are excluded")
        raise ValueError(
            "no detection lies on a key frame of the ground truth: it names "
            f"{_times(truth.second)}, the detections {_times(found.second)} (seconds of the whole video, not frames)"
        )
    people = FrameBoxes(*_columns(known, keep[0], truth.boxes, truth.action, truth.person.double()))
    boxes = FrameBoxes(*_columns(scored, keep[1], found.boxes, found.action, found.score))
    try:
        result = frame_ap(people, boxes, classes=classes, empty=empty)
    except ValueError:
        check_shift(0.0, people, boxes, classes, empty)
        raise
    check_shift(result.mean, people, boxes, classes, empty)
    return result


def _columns(frame: Array, keep: Array | slice, *columns: Tensor) -> list[Tensor]:
    rows = keep if isinstance(keep, slice) else torch.from_numpy(keep)
    return [torch.from_numpy(frame), *(column[rows] for column in columns)]


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
