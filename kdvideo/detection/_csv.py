"""Rows of AVA's csv files: parsed fast where nothing is odd, else line by line, so that errors name their line."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
PathLike = str | os.PathLike[str]
COORDINATES = ("x1", "y1", "x2", "y2")
BLOCK = 1 << 22  # bytes that arrow parses at a time


class Layout(NamedTuple):
    """What the columns after the box are: an action id or not (one is skipped then), and a last one."""

    action: bool
    last: str
    last_optional: bool

    def names(self, columns: int) -> list[str] | None:
        """The names of that many columns; None where rows cannot be that long."""
        head = ["video", "second", *COORDINATES]
        if columns == 8:
            return [*head, "action", "last"]
        if columns == 7 and (self.last_optional or not self.action):
            return [*head, "action" if self.action else "last"]
        return None

    def expected(self) -> str:
        action = "action" if self.action else "[action]"
        last = f"[{self.last}]" if self.last_optional else self.last
        return f"video,second,x1,y1,x2,y2,{action},{last}"


@dataclass
class Columns:
    """The columns of a file; `line` is None where they were parsed fast."""

    videos: tuple[str, ...]
    video: Array
    second: Array
    boxes: Array
    action: Array
    last: Array | None
    line: Array | None = None
    empty: list[tuple[str, float]] = field(default_factory=list)


def parse_fast(path: PathLike, layout: Layout) -> Columns | None:
    """The columns, or None where the file is not plain: then `parse_lines` finds out why."""
    names = layout.names(_columns(path))
    if names is None:
        return None
    try:
        return _with_arrow(path, names, layout)
    except ImportError:
        return _with_numpy(path, names, layout)


def _columns(path: PathLike) -> int:
    with open(path, encoding="utf-8-sig", errors="replace") as stream:
        return stream.readline().count(",") + 1


def _with_arrow(path: PathLike, names: list[str], layout: Layout) -> Columns | None:
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
    from pyarrow import csv as arrow  # type: ignore[import-untyped,unused-ignore]

    wanted = [name for name in names if layout.action or name != "action"]
    kinds = {"action": pa.int64(), "video": pa.dictionary(pa.int32(), pa.string())}
    read = arrow.ReadOptions(column_names=names, block_size=BLOCK)
    types = {name: kinds.get(name, pa.float64()) for name in wanted}
    convert = arrow.ConvertOptions(column_types=types, include_columns=wanted, null_values=[])
    try:
        table = arrow.read_csv(os.fspath(path), read, None, convert)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None
    video = table.column("video").combine_chunks()
    chunks = {name: table.column(name).chunks for name in wanted if name != "video"}
    del table

    def parts(name: str) -> list[Array]:
        pa.default_memory_pool().release_unused()  # what the column before took
        return [np.from_dlpack(chunk) for chunk in chunks.pop(name, ())]  # `to_numpy` would import pandas

    return _assembled(tuple(video.dictionary.to_pylist()), np.from_dlpack(video.indices), layout, parts)


def _with_numpy(path: PathLike, names: list[str], layout: Layout) -> Columns | None:
    kinds = {"video": "U64", "action": "i8" if layout.action else "U64"}
    kind = np.dtype([(name, kinds.get(name, "f8")) for name in names])
    try:
        with open(path, encoding="utf-8-sig") as stream:
            rows = np.loadtxt(stream, kind, delimiter=",", comments=None, quotechar='"', ndmin=1)
    except ValueError:
        return None
    # Runs of rows share a video: only their first rows need sorting.
    starts = np.flatnonzero(np.concatenate([[True], rows["video"][1:] != rows["video"][:-1]]))
    videos, inverse = np.unique(rows["video"][starts], return_inverse=True)
    if np.char.str_len(videos).max() == 64:
        return None  # perhaps cut off
    video = np.repeat(inverse.reshape(-1), np.diff(np.append(starts, len(rows))))
    return _assembled(tuple(videos.tolist()), video, layout, lambda name: [rows[name]] if name in names else [])


def _assembled(
    videos: tuple[str, ...], video: Array, layout: Layout, parts: Callable[[str], list[Array]]
) -> Columns | None:
    if "" in videos:
        return None
    boxes = np.empty((4, len(video)))  # each coordinate in one piece: the checks go by coordinate
    for coordinate, name in zip(boxes, COORDINATES, strict=True):
        np.concatenate(parts(name), out=coordinate)
    second = np.concatenate(parts("second"))
    action = np.concatenate(parts("action")) if layout.action else np.zeros(len(video), np.int64)
    last = parts("last")
    return Columns(videos, video.astype(np.int64), second, boxes.T, action, np.concatenate(last) if last else None)


def parse_lines(path: PathLike, layout: Layout) -> Columns:
    """The columns, read with the csv module.

    Raises:
        ValueError: names the first rows that cannot be understood, by line, and counts the others.
    """
    names: dict[str, int] = {}
    rows: list[tuple[int, int, float, list[float], int, float | None]] = []
    empty: list[tuple[str, float]] = []
    problems: list[tuple[int, str]] = []
    with open(path, encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        for values in _rows(reader, path):
            try:
                if len(values) == 2:
                    empty.append((_name(values[0]), float(values[1])))
                elif values:
                    rows.append((reader.line_num, *_row(values, layout, names)))
            except ValueError as error:
                problems.append((reader.line_num, str(error)))
    complain(path, problems)
    line, video, second, boxes, action, last = zip(*rows, strict=True) if rows else ((),) * 6
    return Columns(
        tuple(names),
        np.array(video, np.int64),
        np.array(second, np.float64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(action, np.int64),
        None if None in last else np.array(last, np.float64),
        np.array(line, np.int64),
        empty,
    )


def parse_excluded(path: PathLike, most: float) -> set[tuple[str, float]]:
    """Rows `video,second`, with seconds from 0 to `most`.

    Raises:
        ValueError: as `parse_lines`.
    """
    found: set[tuple[str, float]] = set()
    problems: list[tuple[int, str]] = []
    with open(path, encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        for values in filter(None, _rows(reader, path)):
            try:
                video, second = values
                if not (video and 0 <= float(second) <= most):
                    raise ValueError
                found.add((video, float(second)))
            except ValueError:
                expected = f"expected video,second with a second in 0 … {most:g}"
                problems.append((reader.line_num, f"{expected}, got {','.join(values)!r}"))
    complain(path, problems)
    return found


def _rows(reader: Any, path: PathLike) -> Any:
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{os.fspath(path)}: line {reader.line_num}: cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: not UTF-8 text: {error}") from error


def _name(text: str) -> str:
    if not text:
        raise ValueError("no name of a video")
    return text


def _row(values: list[str], layout: Layout, names: dict[str, int]) -> tuple[int, float, list[float], int, float | None]:
    columns = layout.names(len(values))
    if columns is None:
        raise ValueError(f"{len(values)} columns; expected {layout.expected()}")
    named = dict(zip(columns, values, strict=True))
    box = [_float(named[name], name) for name in COORDINATES]
    action = 0
    if layout.action:
        try:
            action = int(np.int64(int(named["action"])))
        except (ValueError, OverflowError):
            raise ValueError(f"action {named['action']!r} is not a whole number of 64 bits") from None
    last = _float(named["last"], layout.last) if "last" in named else None
    second = _float(named["second"], "second")
    return names.setdefault(_name(named["video"]), len(names)), second, box, action, last


def _float(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is not a number") from None


def complain(
    path: PathLike, problems: Sequence[tuple[int, str]], count: int | None = None, *, place: str = "line"
) -> None:
    """Raise `ValueError` with the first of the problems, if there are any."""
    count = len(problems) if count is None else count
    if not count:
        return
    shown = [f"{place} {number}: {text}" for number, text in sorted(problems)[:5]]
    more = [f"and {count - len(shown)} more bad rows"] if count > len(shown) else []
    raise ValueError("\n  ".join([f"{os.fspath(path)}: {shown[0]}", *shown[1:], *more]))
