"""Manifests from the list files of data sets."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdvideo.data.manifests.manifest import Checked, Row

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("path", "label", "start", "end")


def from_csv(
    file: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    allow_missing: bool = False,
) -> Dataset:
    """The manifest of a comma-separated file with rows `path,label` or `path,label,start,end`.

    A first row that holds the words `path` and `label` is a header, which may order the columns otherwise and have
    others besides. Labels are class names (numbered in their sorted order, or as in `classes`) or numbers from 0.

    Args:
        file: the list, UTF-8 with or without a byte order mark.
        root: the folder that paths are relative to; the default is the one of `file`.
        classes: the class names in order, where the list does not hold all of them.
        allow_missing: leave out, with a warning that counts them, clips that are not there.

    Raises:
        ManifestError: names every bad row by its line number.
    """
    base = os.path.dirname(os.fspath(file)) or "." if root is None else os.fspath(root)
    check = Checked(os.fspath(file), base, allow_missing)
    return check.manifest(read_rows(check, classes), classes)


def read_rows(check: Checked, classes: Sequence[str] | None = None) -> list[Row]:
    """The rows of the list `check.source` that can be understood; what is wrong with the others goes into `check`."""
    fields = _read(check)
    numeric = classes is None and sum(_number(row["label"]) is not None for _, row in fields) * 2 >= len(fields)
    return [row for line, named in fields if (row := _row(check, line, named, numeric, classes)) is not None]


def _read(check: Checked) -> list[tuple[int, dict[str, str]]]:
    names = list(COLUMNS)
    found: list[tuple[int, dict[str, str]]] = []
    try:
        with open(check.source, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            for values in reader:
                values = [value.strip() for value in values]
                if not found and {"path", "label"} <= {v.lower() for v in values}:
                    names = [v.lower() for v in values]
                elif len(values) in (2, 4, len(names)):
                    found.append((reader.line_num, dict(zip(names, values, strict=False))))
                elif any(values):
                    text = f"expected path,label or path,label,start,end, got {len(values)} field(s)"
                    check.problems.append((reader.line_num, text))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        check.problems.append((0, f"cannot be read: {error}"))
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _row(check: Checked, line: int, named: dict[str, str], numeric: bool, classes: Sequence[str] | None) -> Row | None:
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
    check.problems += [(line, text) for text in problems]
    return None if problems else Row(line, named["path"], label, start, end)


def _second(text: str, name: str, problems: list[str]) -> float | None:
    value = _number(text)
    if text and (value is None or not math.isfinite(value) or value < 0):
        problems.append(f"{name} {text!r} is not a time in seconds")
        return None
    return value
