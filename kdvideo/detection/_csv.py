"""Rows of AVA's csv files, line by line, so that errors name their line."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
PathLike = str | os.PathLike[str]
COORDINATES = ("x1", "y1", "x2", "y2")


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
