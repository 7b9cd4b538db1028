"""Clips and manifests from comma-separated lists."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdvideo.data.manifests.kinetics_lists import from_kinetics_list, is_kinetics_list, kinetics_rows
from kdvideo.data.manifests.manifest import ListedClip, ManifestBuilder
from kdvideo.files import check_regular, lines

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("path", "label", "start", "end")


def from_csv(
    file: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    allow_missing: float = False,
    missing_list: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Read the manifest of a comma-separated file with rows `path,label` or `path,label,start,end`.

    A first row that holds the words `path` and `label` is a header, which may order the columns otherwise and have
    others besides. Labels are class names (numbered in their sorted order, or as in `classes`) or numbers from 0.
    A list with the header of an official Kinetics list is read by `from_kinetics_list`.

    Args:
        file: the list, UTF-8 with or without a byte order mark.
        root: the folder that paths are relative to; the default is the one of `file`.
        classes: the class names in order, where the list does not hold all of them.
        allow_missing: leave out, with a warning that counts them, clips that are not there: True for any number,
            0.01 for at most one in a hundred.
        missing_list: file to which all missing clips are written, as csv of line,path,reason.

    Raises:
        ManifestError: names every bad row by its line number.
    """
    if is_kinetics_list(file):
        top = _root(file, root)
        return from_kinetics_list(
            file, root=top, classes=classes, allow_missing=allow_missing, missing_list=missing_list
        )
    builder = ManifestBuilder(os.fspath(file), _root(file, root), allow_missing, missing_list)
    return builder.build(_rows(builder, classes), classes)


def read_clip_list(file: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """Read the clips of a list as `from_csv` does, with labels as listed; the files need not exist.

    Args:
        file: the list, see `from_csv`.
        root: the folder that paths are relative to; the default is the one of `file`.

    Returns:
        Rows with `path`, `clip` (the ids of `from_csv`), `label`, `start` and `end`.

    Raises:
        ManifestError: names every bad row by its line number.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("b.mp4,jump,1.5,3", file=file, flush=True)
        ...     read_clip_list(file.name, root="/clips")[0]
        {'path': '/clips/b.mp4', 'clip': 'b.mp4@1.5-3.0', 'label': 'jump', 'start': 1.5, 'end': 3.0}
    """
    builder = ManifestBuilder(os.fspath(file), _root(file, root))
    clips: list[dict[str, Any]] = []
    for row in kinetics_rows(builder) if is_kinetics_list(file) else _rows(builder):
        path, clip = builder.locate(row)
        if clip is not None and builder.is_new(row, clip):
            clips.append({"path": path, "clip": clip, "label": str(row.label), "start": row.start, "end": row.end})
    if builder.problems or not clips:
        builder.fail("no clip in it")
    return clips


def _root(file: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
    return os.path.dirname(os.fspath(file)) or "." if root is None else os.fspath(root)


def _rows(builder: ManifestBuilder, classes: Sequence[str] | None = None) -> list[ListedClip]:
    """Return the rows of the list that can be understood, and report the others."""
    fields = _fields(builder)
    numeric = classes is None and sum(_number(row["label"]) is not None for _, row in fields) * 2 >= len(fields)
    return [row for line, named in fields if (row := _row(builder, line, named, numeric, classes)) is not None]


def _fields(builder: ManifestBuilder) -> list[tuple[int, dict[str, str]]]:
    names = list(COLUMNS)
    found: list[tuple[int, dict[str, str]]] = []
    try:
        check_regular(Path(builder.source))
        with open(builder.source, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(lines(stream), strict=True)
            for values in reader:
                values = [value.strip() for value in values]
                if not found and {"path", "label"} <= {v.lower() for v in values}:
                    names = [v.lower() for v in values]
                elif len(values) in (2, 4, len(names)):
                    found.append((reader.line_num, dict(zip(names, values, strict=False))))
                elif any(values):
                    text = f"expected path,label or path,label,start,end, got {len(values)} field(s)"
                    builder.report(reader.line_num, text)
    except (OSError, ValueError, csv.Error) as error:
        builder.report(0, f"cannot be read: {error}")
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _row(
    builder: ManifestBuilder, line: int, named: dict[str, str], numeric: bool, classes: Sequence[str] | None
) -> ListedClip | None:
    problems = []
    label: str | int = named["label"]
    number = None if classes is not None and label in classes else _number(named["label"])
    if not label:
        problems.append("no label")
    elif number is not None and not re.fullmatch("[0-9]{1,5}", named["label"]):
        problems.append(f"label {label!r} is not a whole number from 0 to 99999")
    elif number is not None and (numeric or classes is not None):
        label = int(number)
    elif number is not None or numeric:
        problems.append(f"label {label!r}: names and numbers are mixed (pass `classes`)")
    if not named["path"] or "\0" in named["path"]:
        problems.append(f"no path, got {named['path']!r}")
    start, end = (_second(named.get(name, ""), name, problems) for name in ("start", "end"))
    if end is not None and end <= (start or 0):
        problems.append(f"end {end} is not after start {start or 0}")
    builder.problems += [(line, text) for text in problems]
    return None if problems else ListedClip(line, named["path"], label, start, end)


def _second(text: str, name: str, problems: list[str]) -> float | None:
    value = _number(text)
    if text and (value is None or not math.isfinite(value) or value < 0):
        problems.append(f"{name} {text!r} is not a time in seconds")
        return None
    return value
