"""Manifests from the official lists of Kinetics, whose clips lie as the archives unpack or as they were downloaded."""

from __future__ import annotations

import csv
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kdvideo.data.manifests.manifest import ListedClip, ManifestBuilder, ManifestError
from kdvideo.data.manifests.scanning import video_paths
from kdvideo.files import check_regular, lines

if TYPE_CHECKING:
    from datasets import Dataset

PathLike = str | os.PathLike[str]
COLUMNS = ("label", "youtube_id", "time_start", "time_end")
REPLACED = "replacement_for_corrupted"  # as the folder of an archive with whole copies of damaged clips is named


def from_kinetics_list(
    file: PathLike,
    *,
    root: PathLike,
    classes: Sequence[str] | None = None,
    allow_missing: float = False,
    missing_list: PathLike | None = None,
) -> Dataset:
    r"""Read the manifest of an official Kinetics list with the columns label, youtube_id, time_start and time_end.

    A clip is found by the name of its file in any folder under `root`. `<youtube_id>_<start>_<end>`, the times with
    six digits, is a trimmed clip and is used whole; `<youtube_id>` is the untrimmed video, of which the listed
    seconds are used. Of several files the one below a folder `replacement_for_corrupted…` is taken, or else the first
    by name. Rows that are listed twice count once. Clips disappear from the web, and files of no bytes take the place
    of some: both count as missing.

    Args:
        file: the list.
        root: the folder of the clips.
        classes: the class names in order; the default is the sorted names of the list, as is customary.
        allow_missing: leave out, with a warning that counts them, clips that are not there: True for any number,
            0.01 for at most one in a hundred.
        missing_list: file to which all missing clips are written, as csv of line,path,reason.

    Returns:
        The manifest, a `datasets.Dataset` with the columns `path`, `label`, `clip`, `start`, `end` and `bytes`.

    Raises:
        ManifestError: names every bad row by its line number.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("abc_000003_000013.mp4", "def.mkv"):
        ...         _ = Path(root, name).write_bytes(b"video")
        ...     text = "label,youtube_id,time_start,time_end,split\nrun,abc,3,13,train\nsit,def,7,17,train\n"
        ...     _ = Path(root, "train.csv").write_text(text)
        ...     from_kinetics_list(Path(root, "train.csv"), root=root)["clip"][:]
        ['abc_000003_000013.mp4', 'def.mkv@7.0-17.0']

    Source:
        Kay et al., "The Kinetics Human Action Video Dataset", 2017, arXiv 1705.06950.
    """
    builder = ManifestBuilder(os.fspath(file), os.fspath(root), allow_missing, missing_list, empty_is_missing=True)
    return builder.build(kinetics_rows(builder), classes)


def is_kinetics_list(file: PathLike) -> bool:
    """Return whether a file has the header of an official Kinetics list."""
    try:
        check_regular(Path(file))
        with open(file, encoding="utf-8-sig", errors="replace", newline="") as stream:
            return set(COLUMNS) <= set(_header(next(csv.reader([stream.readline(4096)]), [])))
    except (OSError, ValueError):  # what is wrong with it is said by its reader
        return False


def kinetics_rows(builder: ManifestBuilder) -> list[ListedClip]:
    """Return the rows of a list that can be understood, each with the file that was found; report the others."""
    known = _by_stem(builder.root)
    rows: dict[tuple[str, str, float | None], ListedClip] = {}
    again = 0
    for line, values in _lines(builder):
        row = _row(builder, line, values, known)
        if row is not None and rows.setdefault((row.path, str(row.label), row.start), row) is not row:
            again += 1
    if again:
        warnings.warn(f"{builder.source}: {again} rows are listed again, and count once", stacklevel=3)
    return list(rows.values())


def _by_stem(root: str) -> dict[str, str]:
    """Return the path, relative to the root, of the file of each stem."""
    known: dict[str, str] = {}
    for path in video_paths(root):
        inside = path[len(os.path.join(root, "")) :]
        stem = os.path.splitext(os.path.basename(path))[0]
        known[stem] = min(known.get(stem, inside), inside, key=lambda name: (REPLACED not in name, name))
    return known


def _lines(builder: ManifestBuilder) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number of each row, and its values in the order of `COLUMNS`."""
    try:
        check_regular(Path(builder.source))
        with open(builder.source, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(lines(stream), strict=True)
            header = _header(next(reader, []))
            if missing := [name for name in COLUMNS if name not in header]:
                builder.fail(f"expected a header with {', '.join(COLUMNS)}, got none of {', '.join(missing)}")
            order = [header.index(name) for name in COLUMNS]
            for values in reader:
                if values:
                    yield reader.line_num, [values[i].strip() if i < len(values) else "" for i in order]
    except ManifestError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        builder.fail(f"cannot be read: {error}")


def _header(values: Sequence[str]) -> list[str]:
    return [value.strip().lower() for value in values]


def _row(builder: ManifestBuilder, line: int, values: Sequence[str], known: dict[str, str]) -> ListedClip | None:
    label, name, *times = values
    try:
        start, end = map(float, times)
    except ValueError:
        start, end = 0.0, math.nan
    if not (label and name and 0 <= start < end < 1e6):
        builder.report(line, f"expected label, youtube_id, time_start and a later time_end, got {','.join(values)!r}")
        return None
    stem = f"{name}_{int(start):06d}_{int(end):06d}"
    if stem in known or name not in known:
        return ListedClip(line, known.get(stem, f"{stem}.mp4"), label)
    return ListedClip(line, known[name], label, start, end)
