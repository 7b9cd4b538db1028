"""AVA's csv files: annotations, excluded timestamps, person proposals and detections."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdvideo.detection._csv import Array, Columns, Layout, PathLike, complain, parse_excluded, parse_lines
from kdvideo.detection._fast import parse_fast, parse_parts
from kdvideo.detection.tables import ACTIONS, Annotations, Boxes, Detections, KeyFrameId, Proposals
from kdvideo.files import write_atomic

MARGIN = 0.01  # boxes drawn by hand end up to a pixel or so outside the frame
MAX_SECOND = 1e6
_LAST = {"score": "finite number", "person": "whole number"}
_SCORED = Layout(action=True, last="score", last_optional=False)


def read_annotations(path: PathLike, *, num_actions: int = ACTIONS) -> Annotations:
    """Ground truth: rows `video,second,x1,y1,x2,y2,action,person`, as in `ava_val_v2.2.csv`.

    The person may be missing; rows `video,second` name key frames without a box.

    Args:
        path: the file. Blank lines are skipped.
        num_actions: the highest action id; 80 in AVA.

    Raises:
        ValueError: an empty file, or, with its line: another number of columns, something that is not a number, boxes
            reversed or more than 0.01 outside the frame (pixels, for instance), action ids outside 1 … num_actions,
            seconds outside 0 … 10⁶.

    Source: Gu et al., "AVA: A Video Dataset of Spatio-temporally Localized Atomic Visual Actions", CVPR 2018,
    arXiv 1705.08421.
    """
    rows = _read(path, Layout(action=True, last="person", last_optional=True), num_actions)
    person = np.full(len(rows.video), -1, np.int64) if rows.last is None else rows.last.astype(np.int64)
    return Annotations(*_boxes(rows), torch.from_numpy(rows.action), torch.from_numpy(person), tuple(rows.empty))


def read_detections(path: PathLike, *, num_actions: int = ACTIONS) -> Detections:
    """Detections: rows `video,second,x1,y1,x2,y2,action,score`, one for each (box, action) pair.

    Raises:
        ValueError: as `read_annotations`, and scores that are not finite.
    """
    return _detections(_read(path, _SCORED, num_actions))


def read_parts(path: PathLike, *, num_actions: int) -> Iterator[Detections]:
    """What `read_detections` reads, some hundred thousand rows at a time, never cut within a run of a key frame's.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: the file is not plain; `read_detections` reads it or tells what is wrong.
    """
    for rows in parse_parts(path, _SCORED):
        if rows is None or _broken(rows, _SCORED, num_actions):
            raise ValueError(f"{os.fspath(path)}: not plain")
        yield _detections(rows)


def read_proposals(path: PathLike, *, annotations: Boxes | None = None) -> Proposals:
    """Person boxes: rows `video,second,x1,y1,x2,y2,score`, or with an action, which is skipped, before the score.

    Rows with equal boxes on a key frame (a file may list a box once per action) become one with the highest score.
    Pickled proposals are not read: loading a pickle runs whatever code is in it.

    Args:
        path: the file.
        annotations: the annotations that these proposals are for; videos that are not in them are an error then.

    Raises:
        ValueError: as `read_detections`; videos that `annotations` does not have (counted and named).
    """
    if Path(path).suffix in (".pkl", ".pickle"):
        raise ValueError(f"{os.fspath(path)}: pickles are not read, as they run code; write the boxes into a csv file")
    rows = _read(path, Layout(action=False, last="score", last_optional=False), 0)
    found = Proposals(*_boxes(rows), _last(rows))
    if annotations is not None:
        check_videos(found, annotations, os.fspath(path))
    keys = np.column_stack([rows.video, rows.second, rows.boxes])
    order = np.argsort(-found.score.numpy(), kind="stable")
    _, first = np.unique(keys[order], axis=0, return_index=True)
    keep = torch.from_numpy(np.sort(order[first]))
    return Proposals(found.videos, found.video[keep], found.second[keep], found.boxes[keep], found.score[keep])


def read_excluded(path: PathLike) -> frozenset[KeyFrameId]:
    """Timestamps left out of the evaluation: rows `video,second`. The file may be empty.

    Raises:
        ValueError: with its line, a row of another kind, or a second outside 0 … 10⁶; a file that is not UTF-8 text.
    """
    return frozenset(parse_excluded(path, MAX_SECOND))


def write_detections(path: PathLike, detections: Detections) -> None:
    """Write rows `video,second,x1,y1,x2,y2,action,score` that `read_detections` reads to the same numbers.

    Raises:
        ValueError: rows that `read_detections` would refuse, with their places; nothing is written then.
    """
    check_table(detections, "the detections", num_actions=max([ACTIONS, *detections.action.tolist()]))
    write_atomic(Path(path), "".join(_lines(detections)).encode())


def check_table(rows: Annotations | Detections, source: str, *, num_actions: int) -> None:
    """Raise `ValueError` for rows, by their place from 0, that would be refused in a file."""
    name, given = ("score", rows.score) if isinstance(rows, Detections) else ("person", rows.person)
    columns = [part.detach().cpu().numpy() for part in (rows.video, rows.second, rows.boxes, rows.action, given)]
    shapes, count = [column.shape for column in columns], len(columns[0])
    if shapes != [(count,), (count,), (count, 4), (count,), (count,)]:
        raise ValueError(f"{source}: columns of shapes {shapes}; expected (N,), (N,), (N, 4), (N,), (N,)")
    if not count:
        raise ValueError(f"{source}: no box in it")
    video, second, boxes, action, last = columns
    table, layout = Columns(rows.videos, video, second, boxes, action, last), Layout(True, name, False)
    broken = _broken(table, layout, num_actions)
    bad = [(row, f"{_row(table, row)}: {rule}") for rule, mask in broken for row in _first(mask)]
    complain(source, bad, _count(broken), place="row")


def check_videos(rows: Boxes, known: Boxes, source: str) -> None:
    """Raise `ValueError` for videos that `known` does not have."""
    names = set(known.videos) | {video for video, _ in getattr(known, "empty", ())}
    unknown = [name for name in rows.videos if name not in names]
    if unknown:
        shown = ", ".join(map(repr, unknown[:5])) + (", …" if len(unknown) > 5 else "")
        raise ValueError(
            f"{source}: {len(unknown)} of {len(rows.videos)} videos are not in the ground truth: {shown}; "
            f"names there look like {min(names)!r}"
        )


def _lines(rows: Detections) -> Iterator[str]:
    table = (rows.video, rows.second, rows.boxes, rows.action, rows.score)
    for video, second, box, action, score in zip(*(column.tolist() for column in table), strict=True):
        name = rows.videos[video]
        if set(name) & set('",\n\r'):
            name = '"' + name.replace('"', '""') + '"'
        time = f"{int(second):04d}" if second == int(second) else repr(second)
        yield f"{name},{time},{','.join(map(repr, box))},{action},{score!r}\n"


def _boxes(rows: Columns) -> tuple[tuple[str, ...], Tensor, Tensor, Tensor]:
    return rows.videos, torch.from_numpy(rows.video), torch.from_numpy(rows.second), torch.from_numpy(rows.boxes)


def _detections(rows: Columns) -> Detections:
    return Detections(*_boxes(rows), torch.from_numpy(rows.action), _last(rows))


def _last(rows: Columns) -> Tensor:
    assert rows.last is not None, "a score in every row"
    return torch.from_numpy(rows.last)


def _read(path: PathLike, layout: Layout, num_actions: int) -> Columns:
    rows = parse_fast(path, layout) if Path(path).stat().st_size else None
    if rows is None or _broken(rows, layout, num_actions):
        rows = parse_lines(path, layout)
    broken = _broken(rows, layout, num_actions)
    if broken:
        assert rows.line is not None, "parsed line by line"
        bad = [(int(rows.line[row]), f"{_row(rows, row)}: {rule}") for rule, mask in broken for row in _first(mask)]
        complain(path, bad, _count(broken))
    if not len(rows.video):
        raise ValueError(f"{os.fspath(path)}: no box in it; expected rows {layout.expected()}")
    return rows


def _broken(rows: Columns, layout: Layout, num_actions: int) -> list[tuple[str, Array]]:
    """The rules that rows break, and which rows."""
    (x1, y1, x2, y2), last = rows.boxes.T, rows.last
    outside = _outside(rows.boxes, -MARGIN, 1 + MARGIN)
    rules: list[tuple[str, Array]] = [
        (f"the second is not in 0 … {MAX_SECOND:g}", _outside(rows.second, 0, MAX_SECOND)),
        ("the box lies outside the frame: x1,y1,x2,y2 are fractions from 0 to 1, not pixels", outside),
        ("the box is reversed: expected x1 <= x2 and y1 <= y2", (x1 > x2) | (y1 > y2)),
    ]
    if layout.action:
        rules.append((f"action ids count from 1 to {num_actions}", _outside(rows.action, 1, num_actions)))
    if last is not None:
        usable = np.isfinite(last) if layout.last == "score" else np.isfinite(last) & (np.floor(last) == last)
        rules.append((f"the {layout.last} is not a {_LAST[layout.last]}", ~usable))
    return [(rule, mask if mask.ndim == 1 else np.asarray(mask.any(1))) for rule, mask in rules if mask.any()]


def _outside(values: Array, low: float, high: float) -> Array:
    """Which values are outside or NaN; two quick passes where none is."""
    if not len(values) or (values.min() >= low and values.max() <= high):  # min and max of NaN are NaN
        return np.zeros(0, bool)
    return ~((values >= low) & (values <= high))


def _count(broken: list[tuple[str, Array]]) -> int:
    return int(np.logical_or.reduce([mask for _, mask in broken]).sum())


def _first(mask: Array) -> list[int]:
    return [int(row) for row in np.flatnonzero(mask)[:5]]


def _row(rows: Columns, row: int) -> str:
    numbers = [rows.second[row], *rows.boxes[row]]
    last = [] if rows.last is None else [rows.last[row]]
    return ",".join([rows.videos[rows.video[row]], *(f"{value:g}" for value in [*numbers, rows.action[row], *last])])
