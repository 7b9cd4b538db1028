"""Clips and manifests from lists: a path and a label in each row."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kdvideo.data.manifests.kinetics_lists import from_kinetics_list, is_kinetics_list, kinetics_rows
from kdvideo.data.manifests.manifest import ListedClips, ManifestBuilder
from kdvideo.data.manifests.tables import read_table

if TYPE_CHECKING:
    from datasets import Dataset


def from_csv(
    file: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    classes: Sequence[str] | None = None,
    allow_missing: float = False,
    missing_list: str | os.PathLike[str] | None = None,
) -> Dataset:
    r"""Read the manifest of a list with rows `path,label` or `path,label,start,end`.

    Fields are separated by commas, tabs, semicolons or spaces. A first row that names a path and a label by usual
    words (`path`, `file`, `filename`, `video`, ...; `label`, `class`, `category`, ...) is a header, which may order the
    columns otherwise and have others besides. Labels are class names (numbered in their sorted order, or as in
    `classes`) or numbers: from 0, or, with a warning, from 1, where they are all of 1 to K and none is 0. A list with
    the header of an official Kinetics list is read by `from_kinetics_list`.

    Args:
        file: the list, UTF-8 with or without a byte order mark.
        root: the folder that paths are relative to; the default is the one of `file`.
        classes: the class names in order, where the list does not hold all of them.
        allow_missing: leave out, with a warning that counts them, clips that are not there: True for any number,
            0.01 for at most one in a hundred.
        missing_list: file to which all missing clips are written, as csv of line,path,reason.

    Returns:
        The manifest, a `datasets.Dataset` with the columns `path`, `label`, `clip`, `start`, `end` and `bytes`.

    Raises:
        ManifestError: names every bad row by its line number; or there is no such file.
        ValueError: `allow_missing` is no fraction of the clips, 0 to 1.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("a.mp4", "b.mp4"):
        ...         Path(root, name).touch()
        ...     _ = Path(root, "list.csv").write_text("a.mp4,sit\nb.mp4,run,1.5,3\n")
        ...     manifest = from_csv(Path(root, "list.csv"))
        >>> manifest["clip"][:], manifest["label"][:], manifest.features["label"].names
        (['a.mp4', 'b.mp4@1.5-3.0'], [1, 0], ['run', 'sit'])
    """
    if is_kinetics_list(file):
        top = _root(file, root)
        return from_kinetics_list(
            file, root=top, classes=classes, allow_missing=allow_missing, missing_list=missing_list
        )
    builder = ManifestBuilder(os.fspath(file), _root(file, root), allow_missing, missing_list)
    return builder.build(*_clips(builder, classes))


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
    clips = ListedClips.of(kinetics_rows(builder)) if is_kinetics_list(file) else _clips(builder)[0]
    paths, ids = builder.locate(clips)
    builder.check_new(clips.line, ids, clips.label)
    if builder.problems or not len(clips):
        builder.fail("no clip in it")
    rows = zip(paths, ids, clips.label, clips.start, clips.end, strict=True)
    # A display: dict(zip(names, row)) takes as long as all the rest.
    return [
        {"path": path, "clip": clip, "label": str(label), "start": start, "end": end}
        for path, clip, label, start, end in rows
    ]


def _root(file: str | os.PathLike[str], root: str | os.PathLike[str] | None) -> str:
    return os.path.dirname(os.fspath(file)) or "." if root is None else os.fspath(root)


def _clips(builder: ManifestBuilder, classes: Sequence[str] | None = None) -> tuple[ListedClips, Sequence[str] | None]:
    """Return the rows of the list that can be understood, and the classes; report the other rows.

    Each different value is judged once, however many rows have it.
    """
    table = read_table(builder.source, builder.report)
    paths, texts = table.columns["path"], table.columns["label"]
    bad: set[int] = set()

    def judge(values: Sequence[str], problems: Mapping[str, str]) -> None:
        for i, value in enumerate(values) if problems else ():
            if value in problems:
                bad.add(i)
                builder.report(table.lines[i], problems[value])

    labels, problems, classes = _labels(builder, Counter(texts), classes)
    judge(texts, problems)
    judge(paths, {path: f"no path, got {path!r}" for path in set(paths) if not path or "\0" in path})
    times: list[list[float | None]] = []
    for name in ("start", "end"):
        values = table.columns.get(name, [""] * len(paths))
        seconds = {text: _second(text) for text in set(values)}
        judge(values, {t: f"{name} {t!r} is not a time in seconds" for t, second in seconds.items() if second == -1})
        times.append([seconds[text] for text in values])
    for i, (start, end) in enumerate(zip(*times, strict=True)):
        if end is not None and end <= (start or 0) and i not in bad:
            bad.add(i)
            builder.report(table.lines[i], f"end {end} is not after start {start or 0}")
    clips = ListedClips(table.lines, paths, [labels.get(text, text) for text in texts], *times)
    return clips.select(i not in bad for i in range(len(clips))) if bad else clips, classes


def _labels(
    builder: ManifestBuilder, count: Counter[str], classes: Sequence[str] | None
) -> tuple[dict[str, str | int], dict[str, str], Sequence[str] | None]:
    """Return what each text of a label means, what is wrong with the others, and the classes."""
    number = {text: None if classes is not None and text in classes else _number(text) for text in count}
    numeric = classes is None and sum(count[text] for text in count if number[text] is not None) * 2 >= count.total()
    problems: dict[str, str] = {}
    labels: dict[str, str | int] = {}
    for text, value in number.items():
        if not text:
            problems[text] = "no label"
        elif value is not None and not re.fullmatch("[0-9]{1,5}", text):
            problems[text] = f"label {text!r} is not a whole number from 0 to 99999"
        elif value is None and not numeric:
            labels[text] = text
        elif value is not None and (numeric or classes is not None):
            labels[text] = int(text)
        else:
            problems[text] = f"label {text!r}: names and numbers are mixed (pass `classes`)"
    return _from_one(builder, labels, problems, classes)


def _from_one(
    builder: ManifestBuilder,
    labels: dict[str, str | int],
    problems: dict[str, str],
    classes: Sequence[str] | None,
) -> tuple[dict[str, str | int], dict[str, str], Sequence[str] | None]:
    """Count labels from 1 where they are 1 to K: all K of them, or the last of K given classes, and never 0."""
    numbers = {label for label in labels.values() if isinstance(label, int)}
    most = len(numbers) if classes is None else len(classes)
    if not numbers or min(numbers) < 1 or max(numbers) != most:
        if numbers and min(numbers) > 0 and classes is None:
            text = f"the labels are within 1 to {max(numbers)}, never 0, and not all of these: taken as they are"
            warnings.warn(f"{builder.source}: {text}; if they count from 1, pass `classes`", stacklevel=5)
        return labels, problems, classes
    text = f"the labels are 1 to {most} and never 0: they are taken as the classes 0 to {most - 1} in this order"
    warnings.warn(f"{builder.source}: {text}", stacklevel=5)
    shifted = {text: label - 1 if isinstance(label, int) else label for text, label in labels.items()}
    return shifted, problems, [str(i + 1) for i in range(most)] if classes is None else classes


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _second(text: str) -> float | None:
    """Return a time, None for no text, or -1 for what is no time."""
    value = _number(text)
    if not text:
        return None
    return value if value is not None and 0 <= value < math.inf else -1
