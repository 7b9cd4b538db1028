"""Rows of AVA's csv files as columns of numbers, a part of the file at a time, with the lines of bad rows."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
from pyarrow import csv as arrow

from kdvideo.detection.row_rules import MAX_SECOND, Array, broken_rules, first_problems, refuse
from kdvideo.files import LONGEST_LINE, check_regular, read_limited

PathLike = str | os.PathLike[str]
Form = tuple[str, ...]
PLACE: Form = ("video", "second")
COORDINATES: Form = ("x1", "y1", "x2", "y2")
MARK = b"\xef\xbb\xbf"  # of UTF-8, at the beginning of some files
PART = 1 << 23  # bytes that are parsed at a time: some 150,000 rows


class Part(NamedTuple):
    """Rows that follow each other in a file.

    Args:
        videos: the names of the videos.
        columns: "video" (where in `videos`), "second", "boxes", and those of "action", "person" and "score" that the
            file has.
        empty: the rows `video,second`: key frames without a box.
    """

    videos: list[str]
    columns: dict[str, Array]
    empty: list[tuple[str, float]]


def read_parts(path: PathLike, forms: Sequence[Form], *, num_actions: int = 0) -> Iterator[Part]:
    """Read `PART` bytes or so at a time, cut where a line is of another key frame than the line before.

    Args:
        path: the file.
        forms: the columns that may come after `video,second,x1,y1,x2,y2`, the same in all rows. A column "skipped" is
            not read. Rows `video,second` may stand between them.
        num_actions: the highest action id.

    Raises:
        ValueError: names the first bad rows of the first bad part by their lines, and counts the others; a
            file without any box.
    """
    layouts = [(*PLACE, *COORDINATES, *form) for form in forms]
    names: Form | None = None
    boxes = before = 0
    for text in _texts(path):
        names = names or _names(path, text, before, layouts)
        part = _part(path, text, before, names or layouts[0], num_actions)
        yield part
        boxes += len(part.columns["video"])
        before += text.count(b"\n")
    if not boxes:
        raise ValueError(f"{os.fspath(path)}: no box in it: rows must be {' or '.join(map(','.join, layouts))}")


def read_places(path: PathLike) -> list[tuple[str, float]]:
    """Read a file of rows `video,second`.

    Raises:
        ValueError: as `read_parts`.
    """
    text = read_limited(Path(path)).removeprefix(MARK)
    rows = [values for _, values in _rows(path, text, 0)]
    if any(_problem(row, PLACE) for row in rows):
        _refuse_lines(path, text, 0, PLACE, "")
    return [(name, float(second)) for name, second in rows]


def _texts(path: PathLike) -> Iterator[bytes]:
    """Yield the file in pieces, each of which begins with a line of another key frame than the line before."""
    check_regular(Path(path))

    def next_line() -> bytes:
        line = stream.readline(LONGEST_LINE + 1)
        if len(line) > LONGEST_LINE:
            raise ValueError(f"{os.fspath(path)}: a line must have at most {LONGEST_LINE:,} bytes, got more")
        return line

    with open(path, "rb") as stream:
        line = next_line().removeprefix(MARK)
        while line:
            lines = [line, stream.read(PART), next_line(), next_line()]
            place = b",".join(lines[-1].split(b",", 2)[:2])
            while (line := next_line()) and line.startswith(place):
                lines.append(line)
            yield b"".join(lines)


def _names(path: PathLike, text: bytes, before: int, layouts: Sequence[Form]) -> Form | None:
    """Return the columns of the first row with a box."""
    names = {len(layout): layout for layout in layouts}
    return next((names[len(values)] for _, values in _rows(path, text, before) if len(values) in names), None)


def _part(path: PathLike, text: bytes, before: int, names: Form, num_actions: int) -> Part:
    others: list[list[str]] = []

    def keep(row: Any) -> str:
        others.append(next(csv.reader([row.text])))
        return "skip"

    kinds = {"action": pa.int64(), "video": pa.dictionary(pa.int32(), pa.string())}
    types = {name: kinds.get(name, pa.float64()) for name in names if name != "skipped"}
    try:
        table = arrow.read_csv(
            pa.BufferReader(text),
            # Only detections come by the million; on one thread the rows without a box come in order.
            arrow.ReadOptions(column_names=names, use_threads="score" in names),
            arrow.ParseOptions(invalid_row_handler=keep),
            arrow.ConvertOptions(column_types=types, include_columns=list(types), null_values=[]),
        ).combine_chunks()
    except pa.ArrowInvalid as error:
        _refuse_lines(path, text, before, names, str(error))
    video = table["video"].chunk(0)
    if any(_problem(row, names) for row in others) or "" in (videos := video.dictionary.to_pylist()):
        _refuse_lines(path, text, before, names, "")
    columns = {name: np.from_dlpack(table[name].chunk(0)) for name in types if name != "video"}
    boxes = np.stack([columns.pop(name) for name in COORDINATES]).T  # each coordinate in one piece: quicker to check
    columns = {"video": np.from_dlpack(video.indices).astype(np.int64), "boxes": boxes, **columns}
    if broken := broken_rules(columns, num_actions):
        found, total = first_problems(broken)
        lines = [(line, values) for line, values in _rows(path, text, before) if len(values) == len(names)]
        problems = [(lines[row][0], f"{rule}, got {','.join(lines[row][1])}") for row, rule in found]
        refuse(os.fspath(path), problems, total)
    return Part(videos, columns, [(name, float(second)) for name, second in others])


def _rows(path: PathLike, text: bytes, before: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, with their lines."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(text), encoding="utf-8", newline=""), strict=True)
    try:
        yield from ((before + reader.line_num, values) for values in reader if values)
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: the file must be UTF-8 text: {error}") from error
    except csv.Error as error:
        raise ValueError(f"{os.fspath(path)}: line {before + reader.line_num}: cannot be read: {error}") from error


def _refuse_lines(path: PathLike, text: bytes, before: int, names: Form, error: str) -> NoReturn:
    """Raise a `ValueError` for the rows that are not `names`; for `error` where none is found."""
    problems = []
    for line, values in _rows(path, text, before):
        if problem := _problem(values, names):
            problems.append((line, f"{problem}, got {','.join(values)}"))
    if not problems:
        raise ValueError(f"{os.fspath(path)}: cannot be read: {error}")
    refuse(os.fspath(path), problems, len(problems))


def _problem(values: list[str], names: Form) -> str | None:
    """Return what is wrong with the text of a row."""
    names = PLACE if len(values) == 2 else names
    if len(values) != len(names):
        return f"rows must be {','.join(names)}"
    for name, text in zip(names, values, strict=True):
        if name == "video" and not text:
            return "the video must have a name"
        if name == "action" and not (text.strip().lstrip("-").isdecimal() and abs(int(text)) < 1 << 63):
            return "the action must be a whole number of 64 bits"
        if name not in ("video", "action", "skipped") and not _is_number(text):
            return f"{name} must be a number"
    if len(values) == 2 and not 0 <= float(values[1]) <= MAX_SECOND:
        return f"the second must be in 0 … {MAX_SECOND:g}"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
