"""Rows of AVA's csv files, parsed fast where nothing is odd."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from kdvideo.detection._csv import COORDINATES, Array, Columns, Layout, PathLike
from kdvideo.detection._order import runs

BLOCK = 1 << 20  # bytes that one thread of arrow parses at a time
PART = 1 << 23  # bytes that are evaluated at a time


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


def parse_parts(path: PathLike, layout: Layout) -> Iterator[Columns | None]:
    """The columns of `PART` bytes or so at a time, cut where the second changes; None where the file is not plain.

    Raises:
        ImportError: pyarrow is not installed.
        ValueError: as None.
    """
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

    names = layout.names(_columns(path))
    if names is None:
        raise ValueError(f"{os.fspath(path)}: expected {layout.expected()}")
    waiting: list[Any] = []
    for table in _ahead(_tables(path, names, layout)):
        table = pa.concat_tables([*waiting, table])
        seconds = np.concatenate([np.from_dlpack(chunk) for chunk in table.column("second").chunks])
        cut = int(runs(seconds)[-2])
        waiting = [table.slice(cut)]
        if cut:
            yield _of_table(table.slice(0, cut), layout)
    yield _of_table(pa.concat_tables(waiting), layout)


def _tables(path: PathLike, names: list[str], layout: Layout) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow

    with open(path, "rb") as stream:
        while text := stream.read(PART) + stream.readline():
            yield arrow.read_csv(pa.BufferReader(text), **_options(names, layout))


def _ahead(items: Iterator[Any]) -> Iterator[Any]:
    """The items, the next of which is made in the meantime."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _options(names: list[str], layout: Layout) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow

    wanted = [name for name in names if layout.action or name != "action"]
    kinds = {"action": pa.int64(), "video": pa.dictionary(pa.int32(), pa.string())}
    types = {name: kinds.get(name, pa.float64()) for name in wanted}
    return {
        "read_options": arrow.ReadOptions(column_names=names, block_size=BLOCK),
        "convert_options": arrow.ConvertOptions(column_types=types, include_columns=wanted, null_values=[]),
    }


def _with_arrow(path: PathLike, names: list[str], layout: Layout) -> Columns | None:
    import pyarrow as pa
    from pyarrow import csv as arrow

    try:
        return _of_table(arrow.read_csv(os.fspath(path), **_options(names, layout)), layout)
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        return None


def _of_table(table: Any, layout: Layout) -> Columns | None:
    video = table.column("video").combine_chunks()

    def parts(name: str) -> list[Array]:
        chunks = table.column(name).chunks if name in table.column_names else []
        return [np.from_dlpack(chunk) for chunk in chunks]  # `to_numpy` would import pandas

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
