"""Frame-mAP of AVA's files and tables."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from kdvideo.detection.activitynet import Evaluation, FrameBoxes, FrameMAP, check_names
from kdvideo.detection.annotations import ACTIONS, Annotations, Boxes, Detections, KeyFrameId
from kdvideo.detection.csv_files import detection_parts, read_annotations, read_detections, read_excluded
from kdvideo.detection.csv_parts import PathLike
from kdvideo.detection.label_map import read_label_map
from kdvideo.detection.matching import among, runs
from kdvideo.detection.row_rules import MAX_SECOND, Array, check_table, check_videos

_SHIFT = 40  # a key frame as one number: the video, and 40 bits of microseconds


def frame_map(
    ground_truth: PathLike | Annotations,
    detections: PathLike | Detections,
    label_map: PathLike | Mapping[int, str],
    *,
    excluded: PathLike | Collection[KeyFrameId] | None = None,
) -> FrameMAP:
    """Compute AVA's frame-mAP at IoU 0.5, to the number that ActivityNet's official evaluation gives.

    The protocol is that of `average_precision`. Key frames are those that the ground truth names, with or without a
    box of the listed classes; detections on other seconds of its videos are ignored. Seconds are equal if they are so
    to the microsecond: 902, 0902 and 902.0 are one.

    The label map decides which actions are evaluated. AVA's annotations have 80, of which the official list names 60:
    ground truth of other actions is left out and counted in `FrameMAP.left_out`, and its key frames stay. Detections
    of other actions are an error, as are ids that are not in 1 … 80 (or to the highest of the label map) on either
    side.

    Args:
        ground_truth: a csv file with rows `video,second,x1,y1,x2,y2,action,person`, or what `read_annotations` gives.
        detections: a csv file with rows `video,second,x1,y1,x2,y2,action,score`, or `Detections`.
        label_map: the evaluated classes as a `.pbtxt` file, or id -> name. Names given twice are told apart by id.
        excluded: a csv file with rows `video,second`, or such pairs: left out of ground truth and detections.

    Returns:
        Mean and per class, in [0, 1].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a bad file (see `read_annotations`) or table (by the same rules), a label map that is none or has
            ids under 1, detections of actions that the label map does not list or of videos that the ground truth does
            not have, or an evaluation that could only give 0: all key frames excluded, no key frame in common, on none
            a class in common, boxes without area.

    Examples:
        >>> box, number = torch.tensor([[0.1, 0.1, 0.4, 0.9]]).double(), torch.tensor([0])
        >>> place = (("clip",), number, torch.tensor([902.0]).double(), box)
        >>> truth = Annotations(*place, action=torch.tensor([11]), person=number)
        >>> found = Detections(*place, action=torch.tensor([11]), score=torch.ones(1).double())
        >>> frame_map(truth, found, {11: "sit", 12: "stand"})
        FrameMAP(mean=1.0, per_class={'sit': 1.0, 'stand': nan}, left_out=0)

    Source:
        ActivityNet's evaluation code; Gu et al., CVPR 2018, arXiv 1705.08421.
    """
    if not isinstance(label_map, (str, os.PathLike)):
        check_names(label_map, "label_map")
    classes = label_map if isinstance(label_map, Mapping) else read_label_map(label_map)
    if not classes or not all(isinstance(action, int | np.integer) and action >= 1 for action in classes):
        raise ValueError(f"label_map must be id -> name with ids from 1, as read_label_map gives, got {dict(classes)}")
    actions = max(ACTIONS, *classes)
    if isinstance(ground_truth, Annotations):
        check_table(ground_truth, "the ground truth", num_actions=actions)
        truth = ground_truth
    else:
        truth = read_annotations(ground_truth, num_actions=actions)
    left_out = read_excluded(excluded) if isinstance(excluded, str | os.PathLike) else excluded or ()
    places = _Places(truth, left_out)
    if isinstance(detections, Detections):
        check_table(detections, "the detections", num_actions=actions)
        evaluation = _evaluated(places, classes, [detections], "the detections")
    else:
        path, source = detections, os.fspath(detections)
        evaluation = _evaluated(places, classes, detection_parts(path, num_actions=actions), source)
        if evaluation is None:
            evaluation = _evaluated(places, classes, [read_detections(path, num_actions=actions)], source)
    assert evaluation is not None, "one part has all rows of its key frames"
    return evaluation.result()


class _Places:
    """The key frames of the ground truth as numbers."""

    def __init__(self, truth: Annotations, left_out: Collection[KeyFrameId]) -> None:
        wrong = [key for key in left_out if not 0 <= key[1] <= MAX_SECOND]
        if wrong:
            raise ValueError(f"excluded must have videos and seconds in 0 … {MAX_SECOND:g}, got {wrong[0]}")
        names = [*truth.videos, *(video for video, _ in truth.empty)]
        self.truth = truth
        self.number = {name: place for place, name in enumerate(dict.fromkeys(names))}
        self.dropped = {_key(self.number[video], second) for video, second in left_out if video in self.number}
        self.empty = {_key(self.number[video], second) for video, second in truth.empty}

    def rows(self, given: Boxes, *columns: Tensor) -> FrameBoxes:
        """Return the rows on key frames that are not left out."""
        videos = np.array([self.number[name] for name in given.videos], np.int64)
        video, second = given.video.numpy(), given.second.double().numpy()
        starts = runs(video, second)
        heads = starts[:-1]
        microseconds = np.rint(second[heads] * 1e6).astype(np.int64)
        frame = np.repeat(microseconds + (videos << _SHIFT)[video[heads]], np.diff(starts))
        rows = FrameBoxes(torch.from_numpy(frame), given.boxes, *columns)
        if not self.dropped:
            return rows
        keep = torch.from_numpy(~among(frame, np.array(sorted(self.dropped))))
        return FrameBoxes(*(column[keep] for column in rows if column is not None))


def _evaluated(
    places: _Places, classes: Mapping[int, str], parts: Iterable[Detections], source: str
) -> Evaluation | None:
    """Evaluate detections part by part; return None where the rows of a key frame are in several parts."""
    truth = places.truth
    known = places.rows(truth, truth.action, truth.person.double())
    if not len(known.frame) and places.empty <= places.dropped:
        raise ValueError("all key frames of the ground truth are excluded")
    evaluation = Evaluation(known, classes, places.empty)
    seen: set[int] = set()
    seconds: list[float] = []
    for part in parts:
        check_videos(part, truth, source)
        _check_listed(part.action.numpy(), classes, source)
        rows = places.rows(part, part.action, part.score)
        frame = rows.frame.numpy()
        heads = set(frame[runs(frame)[:-1]].tolist())
        if heads & seen:
            return None
        seen |= heads
        seconds += [part.second.numpy().min(), part.second.numpy().max()]
        evaluation.add(rows)
    if not evaluation.on_key_frames:
        raise ValueError(
            f"{source}: no detection lies on a key frame of the ground truth: it names seconds "
            f"{float(truth.second.min()):g} … {float(truth.second.max()):g}, the detections seconds {min(seconds):g} … "
            f"{max(seconds):g} (seconds of the whole video, not frames)"
        )
    return evaluation


def _check_listed(actions: Array, classes: Mapping[int, str], source: str) -> None:
    listed = np.isin(actions, list(classes))
    if not listed.all():
        ids = ", ".join(map(str, np.unique(actions[~listed]).tolist()))
        raise ValueError(
            f"{source}: action ids of detections must be in the label map, got {ids}: leave these rows out, or name "
            "the actions in the label map"
        )


def _key(video: int, second: float) -> int:
    return (video << _SHIFT) + round(second * 1e6)
