"""Readers of AVA's csv files: annotations, excluded timestamps, person proposals and detections; and a writer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdvideo.detection.annotations import ACTIONS, Annotations, Boxes, Detections, KeyFrameId, Proposals
from kdvideo.detection.csv_parts import Form, Part, PathLike, read_parts, read_places
from kdvideo.detection.row_rules import check_table, check_videos
from kdvideo.files import write_atomic

ANNOTATIONS: tuple[Form, ...] = (("action", "person"), ("action",))
DETECTIONS: tuple[Form, ...] = (("action", "score"),)
PROPOSALS: tuple[Form, ...] = (("score",), ("skipped", "score"))


def read_annotations(path: PathLike, *, num_actions: int = ACTIONS) -> Annotations:
    """Read ground truth: rows `video,second,x1,y1,x2,y2,action,person`, as in `ava_val_v2.2.csv`.

    All rows may lack the person; rows `video,second` name key frames without a box.

    Args:
        path: the file. Blank lines are skipped.
        num_actions: the highest action id; 80 in AVA.

    Returns:
        The rows, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an empty file, or, with its line: another number of columns, something that is not a number, boxes
            reversed or more than 0.01 outside the frame (pixels, for instance), action ids outside 1 … num_actions,
            seconds outside 0 … 10⁶.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("clip,0902,0.1,0.2,0.5,0.9,12,0", file=file, flush=True)
        ...     rows = read_annotations(file.name)
        >>> rows.videos, rows.second.tolist(), rows.action.tolist()
        (('clip',), [902.0], [12])

    Source:
        Gu et al., "AVA: A Video Dataset of Spatio-temporally Localized Atomic Visual Actions", CVPR 2018, arXiv
        1705.08421.
    """
    parts = list(read_parts(path, ANNOTATIONS, num_actions=num_actions))
    videos, columns = _joined(parts)
    person = columns.pop("person", torch.full_like(columns["action"], -1)).long()
    return Annotations(videos, **columns, person=person, empty=tuple(key for part in parts for key in part.empty))


def read_detections(path: PathLike, *, num_actions: int = ACTIONS) -> Detections:
    """Read detections: rows `video,second,x1,y1,x2,y2,action,score`, one for each (box, action) pair.

    Args:
        path: the file. Blank lines are skipped.
        num_actions: the highest action id; 80 in AVA.

    Returns:
        The rows, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_annotations`, and scores that are not finite.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("clip,0902,0.1,0.2,0.5,0.9,12,0.75", file=file, flush=True)
        ...     read_detections(file.name).score.tolist()
        [0.75]
    """
    videos, columns = _joined(read_parts(path, DETECTIONS, num_actions=num_actions))
    return Detections(videos, **columns)


def detection_parts(path: PathLike, *, num_actions: int) -> Iterator[Detections]:
    """Read what `read_detections` reads some hundred thousand rows at a time, the next while one is evaluated.

    Rows of a key frame that follow each other are in one part, so a file of tens of millions of rows need not be in
    memory at once.
    """
    parts = read_parts(path, DETECTIONS, num_actions=num_actions)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, parts, None)
        while part := coming.result():
            coming = pool.submit(next, parts, None)
            videos, columns = _joined([part])
            if videos:
                yield Detections(videos, **columns)


def read_proposals(path: PathLike, *, annotations: Boxes | None = None) -> Proposals:
    """Read person boxes: rows `video,second,x1,y1,x2,y2,score`, or with an action, which is skipped, before the score.

    Rows with equal boxes on a key frame (a file may list a box once per action) become one with the highest score.
    Pickled proposals are not read: loading a pickle runs whatever code is in it.

    Args:
        path: the file.
        annotations: the annotations that these proposals are for; videos that are not in them are an error then.

    Returns:
        The boxes, each once, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `read_detections`; videos that `annotations` does not have (counted and named).

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("clip,0902,0.1,0.2,0.5,0.9,0.75", file=file)
        ...     print("clip,0902,0.1,0.2,0.5,0.9,0.5", file=file, flush=True)
        ...     read_proposals(file.name).score.tolist()
        [0.75]
    """
    if Path(path).suffix in (".pkl", ".pickle"):
        raise ValueError(f"{os.fspath(path)}: pickles are not read, as they run code: write the boxes into a csv file")
    videos, columns = _joined(read_parts(path, PROPOSALS))
    rows = Proposals(videos, **columns)
    if annotations is not None:
        check_videos(rows, annotations, os.fspath(path))
    keys = torch.column_stack([rows.video.double(), rows.second, rows.boxes]).numpy()
    order = np.argsort(-rows.score.numpy(), kind="stable")
    _, first = np.unique(keys[order], axis=0, return_index=True)
    keep = torch.from_numpy(np.sort(order[first]))
    return Proposals(videos, **{name: column[keep] for name, column in columns.items()})


def read_excluded(path: PathLike) -> frozenset[KeyFrameId]:
    """Read timestamps that the evaluation leaves out: rows `video,second`.

    Args:
        path: the file; it may be empty.

    Returns:
        Pairs (video, second).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: with its line, a row of another kind, or a second outside 0 … 10⁶; a file that is not UTF-8 text.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("clip,0902", file=file, flush=True)
        ...     read_excluded(file.name)
        frozenset({('clip', 902.0)})
    """
    return frozenset(read_places(path))


def write_detections(path: PathLike, detections: Detections) -> None:
    """Write detections as rows `video,second,x1,y1,x2,y2,action,score`; `read_detections` reads the same numbers.

    Args:
        path: the file; it appears whole or not at all.
        detections: the rows.

    Raises:
        ValueError: rows that `read_detections` would refuse, with their places; nothing is written then.

    Examples:
        >>> import tempfile
        >>> boxes, scores = torch.tensor([[0.1, 0.1, 0.4, 0.9]]), torch.tensor([[0.25, 0.75]])
        >>> rows = Detections.from_scores([("clip", 902, boxes, scores)], classes=(4, 7))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_detections(f"{folder}/rows.csv", rows)
        ...     read_detections(f"{folder}/rows.csv").score.tolist()
        [0.25, 0.75]
    """
    check_table(detections, "the detections", num_actions=max([ACTIONS, *detections.action.tolist()]))
    write_atomic(Path(path), "".join(_lines(detections)).encode())


def _lines(rows: Detections) -> Iterator[str]:
    table = (rows.video, rows.second, rows.boxes, rows.action, rows.score)
    for video, second, box, action, score in zip(*(column.tolist() for column in table), strict=True):
        name = rows.videos[video]
        if set(name) & set('",\n\r'):
            name = '"' + name.replace('"', '""') + '"'
        time = f"{int(second):04d}" if second == int(second) else repr(second)
        yield f"{name},{time},{','.join(map(repr, box))},{action},{score!r}\n"


def _joined(parts: Iterable[Part]) -> tuple[tuple[str, ...], dict[str, Tensor]]:
    """Return the names of the videos and the columns of all parts."""
    names: dict[str, int] = {}
    found: dict[str, list[np.ndarray]] = {}
    for part in parts:
        number = np.array([names.setdefault(video, len(names)) for video in part.videos], np.int64)
        for name, column in part.columns.items():
            found.setdefault(name, []).append(number[column] if name == "video" else column)
    return tuple(names), {name: torch.from_numpy(np.concatenate(columns)) for name, columns in found.items()}
