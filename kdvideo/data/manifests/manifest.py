"""Manifests: which clips there are, where, and of which class, held by Hugging Face `datasets`.

A manifest is a `datasets.Dataset` with the columns `path`, `label` (a ClassLabel), `clip` (a unique name: the path
relative to the root, and the segment), `start` and `end` (seconds; None where the clip is the whole file).
"""

from __future__ import annotations

import os
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from datasets import Dataset

EXTENSIONS = (
    ".mp4",
    ".avi",
    ".mkv",
    ".webm",
    ".mov",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".ts",
    ".3gp",
    ".ogv",
)


class ManifestError(ValueError):
    """A list of clips is wrong; names every bad row with its line number.

    Args:
        source: the file or folder.
        problems: pairs of a line number (0: the whole file) and what is wrong with it.
    """

    def __init__(self, source: str, problems: Sequence[tuple[int, str]]) -> None:
        super().__init__(source, problems)
        self.source, self.problems = source, sorted(problems)

    def __str__(self) -> str:
        lines = [f"  line {n}: {text}" if n else f"  {text}" for n, text in self.problems]
        more = [f"  ... and {len(lines) - 50} more"] if len(lines) > 50 else []
        return "\n".join([f"{self.source}: {len(lines)} problem(s)", *lines[:50], *more])


@dataclass
class Row:
    """One clip as a list names it: `label` is a class name or, from 0, a class number."""

    line: int
    path: str
    label: str | int
    start: float | None = None
    end: float | None = None


@dataclass
class Checked:
    """Rows on their way into a manifest, and all that is wrong with them."""

    source: str
    root: str
    allow_missing: float = 0.0  # the largest fraction of the rows; False is 0 and True is 1
    problems: list[tuple[int, str]] = field(default_factory=list)

    def manifest(self, rows: Iterable[Row], classes: Sequence[str] | None) -> Dataset:
        """The manifest of `rows`; raises one `ManifestError` that names everything wrong."""
        rows = list(rows)
        names = _classes(rows) if classes is None else list(classes)
        rows = self._existing(rows)
        number = {name: i for i, name in enumerate(names)}
        if len(number) != len(names):
            self.problems.append((0, "a class is named twice"))
        seen: dict[str, tuple[int, int]] = {}
        columns: dict[str, list[object]] = {"path": [], "label": [], "clip": [], "start": [], "end": []}
        for row in rows:
            label = self._label(row, number, names)
            path, clip = self.place(row)
            if label is None or clip is None or not self.new(row, clip, label, seen):
                continue
            for column, value in zip(columns.values(), (path, label, clip, row.start, row.end), strict=True):
                column.append(value)
        if self.problems or not rows:
            self.fail("no clip in it")
        return _dataset(columns, names)

    def fail(self, text: str) -> NoReturn:
        """Raise the problems found so far or, if there are none, this one."""
        raise ManifestError(self.source, self.problems or [(0, text)])

    def _label(self, row: Row, number: dict[str, int], names: Sequence[str]) -> int | None:
        if isinstance(row.label, int):
            if 0 <= row.label < len(names):
                return row.label
            self.problems.append((row.line, f"label {row.label} is not in 0..{len(names) - 1}"))
            return None
        found = number.get(unicodedata.normalize("NFC", row.label))
        if found is None:
            self.problems.append((row.line, f"unknown class {row.label!r}"))
        return found

    def place(self, row: Row) -> tuple[str, str | None]:
        """Where the clip is, and its name: the path within the root, and the segment."""
        inside = os.path.normpath(row.path)
        path = os.path.join(self.root, inside)
        if os.path.isabs(row.path):
            inside = os.path.relpath(path, self.root)
        if inside.split(os.sep)[0] == os.pardir:
            if not os.path.isabs(row.path):
                self.problems.append((row.line, f"path {row.path!r} leads out of {self.root!r}"))
                return path, None
            inside = path.lstrip(os.sep)
        segment = "" if row.start is None and row.end is None else f"@{row.start or 0.0}-{row.end or 'end'}"
        return path, inside.replace(os.sep, "/") + segment

    def new(self, row: Row, clip: str, label: int, seen: dict[str, tuple[int, int]]) -> bool:
        """Whether no row before named this clip."""
        if clip not in seen:
            seen[clip] = row.line, label
            return True
        line, other = seen[clip]
        how = "again" if other == label else "again with another label"
        self.problems.append((row.line, f"{clip!r} is listed {how} (first on line {line})"))
        return False

    def _existing(self, rows: list[Row]) -> list[Row]:
        if not 0 <= self.allow_missing <= 1:
            raise ValueError(f"allow_missing must be a fraction of the clips, 0 to 1, got {self.allow_missing}")
        lost = [row for row in rows if not os.path.isfile(os.path.join(self.root, row.path))]
        count = f"{len(lost)} of {len(rows)} clips are missing"
        some_are_there = len(lost) < len(rows)
        if lost and some_are_there and len(lost) <= self.allow_missing * len(rows):
            first = ", ".join(repr(row.path) for row in lost[:5])
            warnings.warn(f"{self.source}: {count} and left out, first {first}", stacklevel=4)
            gone = {id(row) for row in lost}
            return [row for row in rows if id(row) not in gone]
        if lost and self.allow_missing:
            allowed = f", more than the {self.allow_missing:.2%} allowed" if some_are_there else ""
            self.problems.append((0, count + allowed))
        self.problems += [(row.line, f"no such file {row.path!r}") for row in lost]
        return rows


def _classes(rows: Sequence[Row]) -> list[str]:
    numbers = [row.label for row in rows if isinstance(row.label, int)]
    if numbers:
        return [str(i) for i in range(max(numbers) + 1)]
    return sorted({unicodedata.normalize("NFC", str(row.label)) for row in rows})


def _dataset(columns: dict[str, list[object]], names: list[str]) -> Dataset:
    from datasets import ClassLabel, Dataset, Features, Value  # here: its import takes seconds

    text, seconds = Value("string"), Value("float64")
    kinds = {"path": text, "label": ClassLabel(names=names), "clip": text, "start": seconds, "end": seconds}
    return Dataset.from_dict(columns, features=Features(kinds))
