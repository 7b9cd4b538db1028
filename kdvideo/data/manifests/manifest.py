"""Manifests as Hugging Face `datasets`: which clips there are, where, and of which class; the report on bad rows.

A manifest is a `datasets.Dataset` with the columns `path`, `label` (a ClassLabel), `clip` (a unique name: the path
relative to the root, and the segment), `start` and `end` (seconds; None where the clip is the whole file) and `bytes`
(of the file, when the manifest was read).
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kdvideo.data.manifests.scanning import file_sizes
from kdvideo.files import write_atomic

if TYPE_CHECKING:
    from datasets import Dataset

FEW_CLASSES, SPARSE = 1000, 10  # more classes than both the first and the second per class that is used are a mistake


class ManifestError(ValueError):
    """The error of a list of clips; names every bad row with its line number.

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
class ListedClip:
    """One clip as line number `line` of a list names it; `label` is a class name or a class number from 0."""

    line: int
    path: str
    label: str | int
    start: float | None = None
    end: float | None = None


@dataclass
class ManifestBuilder:
    """Builds one manifest from the clips that a list or folder names, and collects all that is wrong with them.

    Args:
        source: the list or folder, for the report.
        root: the folder that paths are relative to.
        allow_missing: the largest fraction of the clips that may be left out because their file is missing; False
            is 0 and True is 1.
        missing_list: file to which all missing clips are written, as csv of line,path,reason; None: no file.
        empty_is_missing: whether files of no bytes count as missing.
        problems: pairs of a line number (0: the whole source) and what is wrong.
    """

    source: str
    root: str
    allow_missing: float = 0.0
    missing_list: str | os.PathLike[str] | None = None
    empty_is_missing: bool = False
    problems: list[tuple[int, str]] = field(default_factory=list)
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)

    def report(self, line: int, text: str) -> None:
        """Add a problem."""
        self.problems.append((line, text))

    def build(self, rows: Sequence[ListedClip], classes: Sequence[str] | None) -> Dataset:
        """Build the manifest of the clips.

        Raises:
            ManifestError: names everything wrong, in one report.
        """
        names = self._classes(rows) if classes is None else list(classes)
        sizes = self._existing(rows)
        number = {name: i for i, name in enumerate(names)}
        if len(number) != len(names):
            self.report(0, "a class is named twice")
        columns: dict[str, list[object]] = {"path": [], "label": [], "clip": [], "start": [], "end": [], "bytes": []}
        for row, size in sizes:
            label = self._label(row, number, names)
            path, clip = self.locate(row)
            if label is None or clip is None or not self.is_new(row, clip, label):
                continue
            for column, value in zip(columns.values(), (path, label, clip, row.start, row.end, size), strict=True):
                column.append(value)
        if self.problems or not rows:
            self.fail("no clip in it")
        return _dataset(columns, names)

    def fail(self, text: str) -> NoReturn:
        """Raise a `ManifestError` of the problems found so far or, if there are none, of this one."""
        raise ManifestError(self.source, self.problems or [(0, text)])

    def _classes(self, rows: Sequence[ListedClip]) -> list[str]:
        """Return the names of the classes that are listed, or the numbers from 0 to the largest one."""
        numbered = [row for row in rows if isinstance(row.label, int)]
        if not numbered:
            return sorted({unicodedata.normalize("NFC", str(row.label)) for row in rows})
        last = max(numbered, key=lambda row: row.label)
        count, used = int(last.label) + 1, len({row.label for row in numbered})
        if count > max(FEW_CLASSES, SPARSE * used):  # one wrong number would make a classifier of that size
            self.report(last.line, f"label {last.label} would make {count} classes, of which {used} are listed")
            self.fail("no clip in it")
        return [str(i) for i in range(count)]

    def _label(self, row: ListedClip, number: dict[str, int], names: Sequence[str]) -> int | None:
        if isinstance(row.label, int):
            if 0 <= row.label < len(names):
                return row.label
            self.report(row.line, f"label {row.label} is not in 0..{len(names) - 1}")
            return None
        found = number.get(unicodedata.normalize("NFC", row.label))
        if found is None:
            self.report(row.line, f"unknown class {row.label!r}")
        return found

    def locate(self, row: ListedClip) -> tuple[str, str | None]:
        """Return the path of a clip, and its id: the path within the root, and the segment.

        The id is None, and reported, where a relative path leads out of the root.
        """
        inside = os.path.normpath(row.path)
        path = os.path.join(self.root, inside)
        if os.path.isabs(row.path):
            inside = os.path.relpath(path, self.root)
        if inside.split(os.sep)[0] == os.pardir:
            if not os.path.isabs(row.path):
                self.report(row.line, f"path {row.path!r} leads out of {self.root!r}")
                return path, None
            inside = path.lstrip(os.sep)
        segment = "" if row.start is None and row.end is None else f"@{row.start or 0.0}-{row.end or 'end'}"
        return path, inside.replace(os.sep, "/") + segment

    def is_new(self, row: ListedClip, clip: str, label: int = 0) -> bool:
        """Return whether no row before named this clip; otherwise report it."""
        if clip not in self._seen:
            self._seen[clip] = row.line, label
            return True
        line, other = self._seen[clip]
        how = "again" if other == label else "again with another label"
        self.report(row.line, f"{clip!r} is listed {how} (first on line {line})")
        return False

    def _existing(self, rows: Sequence[ListedClip]) -> list[tuple[ListedClip, int | None]]:
        """Return the rows with the sizes of their files; leave out the missing ones, or report them."""
        if not 0 <= self.allow_missing <= 1:
            raise ValueError(f"allow_missing must be a fraction of the clips, 0 to 1, got {self.allow_missing}")
        found = list(zip(rows, file_sizes(os.path.join(self.root, row.path) for row in rows), strict=True))
        lost = [(row, lack) for row, size in found if (lack := self._lack(size))]
        where = self._list_missing(lost)
        if not lost:
            return found
        count = f"{len(lost)} of {len(rows)} clips are missing"
        found_some = len(lost) < len(rows)
        if found_some and len(lost) <= self.allow_missing * len(rows):
            first = ", ".join(repr(row.path) for row, _ in lost[:5])
            warnings.warn(f"{self.source}: {count} and left out, first {first}{where}", stacklevel=4)
            return [one for one in found if not self._lack(one[1])]
        if self.allow_missing or where:
            wrong = f"more than the {self.allow_missing:.2%} allowed" if found_some else f"is {self.root!r} their root?"
            self.report(0, f"{count}, {wrong}{where}")
        self.problems += [(row.line, f"{lack} {row.path!r}") for row, lack in lost]
        return found

    def _lack(self, size: int | None) -> str:
        if size is None:
            return "no such file"
        return "empty file" if self.empty_is_missing and not size else ""

    def _list_missing(self, lost: Sequence[tuple[ListedClip, str]]) -> str:
        """Write the list of the missing clips, or remove an old one; return where it is, to end a message."""
        if self.missing_list is None:
            return ""
        if not lost:
            Path(self.missing_list).unlink(missing_ok=True)
            return ""
        text = io.StringIO(newline="")
        rows = [("line", "path", "reason"), *((str(row.line), row.path, lack) for row, lack in lost)]
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomic(Path(self.missing_list), text.getvalue().encode(errors="surrogateescape"))
        return f"; all are in {os.fspath(self.missing_list)}"


def _dataset(columns: dict[str, list[object]], names: list[str]) -> Dataset:
    from datasets import ClassLabel, Dataset, Features, Value  # here: its import takes seconds

    text, seconds = Value("string"), Value("float64")
    kinds = {
        "path": text,
        "label": ClassLabel(names=names),
        "clip": text,
        "start": seconds,
        "end": seconds,
        "bytes": Value("int64"),
    }
    return Dataset.from_dict(columns, features=Features(kinds))
