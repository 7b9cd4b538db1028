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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

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


class ListedClip(NamedTuple):
    """One clip as line number `line` of a list names it; `label` is a class name or a class number from 0."""

    line: int
    path: str
    label: str | int
    start: float | None = None
    end: float | None = None


@dataclass
class ListedClips:
    """Many clips by columns: what is checked once for a column, and not for every row, is quick."""

    line: Sequence[int]
    path: Sequence[str]
    label: Sequence[str | int]
    start: Sequence[float | None]
    end: Sequence[float | None]

    @classmethod
    def of(cls, rows: Iterable[ListedClip]) -> ListedClips:
        """Turn rows into columns."""
        rows = list(rows)
        return cls(*([row[i] for row in rows] for i in range(5)))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.line)

    def select(self, keep: Iterable[bool]) -> ListedClips:
        """Return the rows that are to be kept."""
        keep = list(keep)
        if all(keep):
            return self
        columns = (self.line, self.path, self.label, self.start, self.end)
        return ListedClips(*(list(compress(column, keep)) for column in columns))  # type: ignore[arg-type]


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

    def report(self, line: int, text: str) -> None:
        """Add a problem."""
        self.problems.append((line, text))

    def build(self, rows: Sequence[ListedClip] | ListedClips, classes: Sequence[str] | None) -> Dataset:
        """Build the manifest of the clips.

        Raises:
            ManifestError: names everything wrong, in one report.
            ValueError: `allow_missing` is no fraction.
        """
        clips = rows if isinstance(rows, ListedClips) else ListedClips.of(rows)
        names = self._classes(clips) if classes is None else list(classes)
        if len(set(names)) != len(names):
            self.report(0, "a class is named twice")
        clips, sizes = self._existing(clips)
        labels = self._numbers(clips, names)
        paths, ids = self.locate(clips)
        self.check_new(clips.line, ids, labels)
        if self.problems or not len(clips):
            self.fail("no clip in it")
        columns: dict[str, Sequence[object]] = {
            "path": paths,
            "label": labels,
            "clip": ids,
            "start": clips.start,
            "end": clips.end,
            "bytes": sizes,
        }
        return _dataset(columns, names)

    def fail(self, text: str) -> NoReturn:
        """Raise a `ManifestError` of the problems found so far or, if there are none, of this one."""
        raise ManifestError(self.source, self.problems or [(0, text)])

    def _classes(self, clips: ListedClips) -> list[str]:
        """Return the names of the classes that are listed, or the numbers from 0 to the largest one."""
        numbers = {label for label in clips.label if isinstance(label, int)}
        if not numbers:
            return sorted({unicodedata.normalize("NFC", str(label)) for label in set(clips.label)})
        count = max(numbers) + 1
        if count > max(FEW_CLASSES, SPARSE * len(numbers)):  # one wrong number would make a classifier of that size
            line = clips.line[clips.label.index(count - 1)]
            self.report(line, f"label {count - 1} would make {count} classes, of which {len(numbers)} are listed")
            self.fail("no clip in it")
        return [str(i) for i in range(count)]

    def _numbers(self, clips: ListedClips, names: Sequence[str]) -> list[int | None]:
        """Return the class number of each clip; None, and reported, where it has none."""
        number: dict[str | int, int] = {name: i for i, name in enumerate(names)}
        known: dict[str | int, int | None] = {}
        for label in set(clips.label):
            inside = isinstance(label, str) or 0 <= label < len(names)
            normal = unicodedata.normalize("NFC", label) if isinstance(label, str) else label
            known[label] = number.get(normal) if isinstance(normal, str) else normal if inside else None
        for line, label in zip(clips.line, clips.label, strict=True) if None in known.values() else ():
            if known[label] is None:
                text = (
                    f"unknown class {label!r}"
                    if isinstance(label, str)
                    else f"label {label} is not in 0..{len(names) - 1}"
                )
                self.report(line, text)
        return [known[label] for label in clips.label]

    def locate(self, clips: ListedClips) -> tuple[list[str], list[str]]:
        """Return the path of each clip, and its id: the path within the root, and the segment.

        A relative path that leads out of the root is reported.
        """
        before, inside = os.path.join(self.root, ""), list(clips.path)
        together = "\n".join(["", *inside, ""])
        if any(odd in together for odd in ("//", "/.", "/\n", "\n.", "\n/", "\n\n")):
            inside = list(map(os.path.normpath, inside))
        paths = [before + path for path in inside]
        top = os.path.join(os.path.abspath(self.root), "")
        for i in [i for i, path in enumerate(inside) if path[0] in "/."]:
            path = inside[i]
            if os.path.isabs(path):
                paths[i], inside[i] = path, path.removeprefix(top).lstrip("/")
            elif path.split("/")[0] == os.pardir:
                self.report(clips.line[i], f"path {clips.path[i]!r} leads out of {self.root!r}")
        if {*clips.start, *clips.end} - {None}:
            text = {second: str(second) for second in {*clips.start, *clips.end}}
            rows = zip(inside, clips.start, clips.end, strict=True)
            inside = [
                p if a is b is None else f"{p}@{text[a] if a else 0.0}-{text[b] if b else 'end'}" for p, a, b in rows
            ]
        return paths, inside

    def check_new(self, lines: Sequence[int], ids: Sequence[str], labels: Sequence[object]) -> None:
        """Report clips that a row before named."""
        if len(set(ids)) == len(ids):
            return
        seen: dict[str, tuple[int, object]] = {}
        for line, clip, label in zip(lines, ids, labels, strict=True):
            first, other = seen.setdefault(clip, (line, label))
            if first != line:
                how = "again" if other == label else "again with another label"
                self.report(line, f"{clip!r} is listed {how} (first on line {first})")

    def _existing(self, clips: ListedClips) -> tuple[ListedClips, list[int | None]]:
        """Return the clips with the sizes of their files; leave out the missing ones, or report them."""
        if not isinstance(self.allow_missing, (int, float)) or not 0 <= self.allow_missing <= 1:
            raise ValueError(f"allow_missing must be a fraction of the clips, 0 to 1, got {self.allow_missing!r}")
        files = dict.fromkeys(clips.path)
        known = dict(zip(files, file_sizes(os.path.join(self.root, path) for path in files), strict=True))
        sizes = [known[path] for path in clips.path]
        lacks = {path: lack for path, size in known.items() if (lack := self._lack(size))}
        lost = [
            (line, path, lacks[path])
            for line, path in (zip(clips.line, clips.path, strict=True) if lacks else ())
            if path in lacks
        ]
        where = self._list_missing(lost)
        if not lost:
            return clips, sizes
        count = f"{len(lost)} of {len(clips)} clips are missing"
        found_some = len(lost) < len(clips)
        if found_some and len(lost) <= self.allow_missing * len(clips):
            first = ", ".join(repr(path) for _, path, _ in lost[:5])
            warnings.warn(f"{self.source}: {count} and left out, first {first}{where}", stacklevel=4)
            whole = [path not in lacks for path in clips.path]
            return clips.select(whole), list(compress(sizes, whole))
        if self.allow_missing or where:
            wrong = f"more than the {self.allow_missing:.2%} allowed" if found_some else f"is {self.root!r} their root?"
            self.report(0, f"{count}, {wrong}{where}")
        if not found_some and os.path.isfile(os.path.join(self.root, str(clips.label[0]))):
            self.report(0, "the labels are files: a row must be path,label in this order")
        self.problems += [(line, f"{lack} {path!r}") for line, path, lack in lost]
        return clips, sizes

    def _lack(self, size: int | None) -> str:
        if size is None:
            return "no such file"
        return "empty file" if self.empty_is_missing and not size else ""

    def _list_missing(self, lost: Sequence[tuple[int, str, str]]) -> str:
        """Write the list of the missing clips, or remove an old one; return where it is, to end a message."""
        if self.missing_list is None:
            return ""
        if not lost:
            Path(self.missing_list).unlink(missing_ok=True)
            return ""
        text = io.StringIO(newline="")
        rows = [("line", "path", "reason"), *lost]
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomic(Path(self.missing_list), text.getvalue().encode(errors="surrogateescape"))
        return f"; all are in {os.fspath(self.missing_list)}"


def _dataset(columns: Mapping[str, Sequence[object]], names: list[str]) -> Dataset:
    import pyarrow  # type: ignore[import-untyped]
    from datasets import ClassLabel, Dataset, DatasetInfo, Features, Value  # here: its import takes seconds

    text, seconds = Value("string"), Value("float64")
    kinds = {
        "path": text,
        "label": ClassLabel(names=names),
        "clip": text,
        "start": seconds,
        "end": seconds,
        "bytes": Value("int64"),
    }
    features = Features(kinds)
    # Not `Dataset.from_dict`, which takes each value of each row through Python.
    return Dataset(pyarrow.table(dict(columns), schema=features.arrow_schema), info=DatasetInfo(features=features))
