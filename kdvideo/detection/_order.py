"""Which rows of a key frame count, and in which order where scores are equal: as ActivityNet's evaluator has it.

The evaluator pushes the rows of a key frame, in the order of the file, onto a heap that holds `keep` of them, and
then sorts the heap's array by score. Which of several equal scores stay follows in closed form from that (`kept`); in
which order they stand only from the heap itself (`heap_order`), which is run for the few frames where it matters.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray[Any, np.dtype[Any]]


class Rows(NamedTuple):
    """Boxes sorted by frame (the number of its first appearance), in file order within a frame."""

    frame: Array
    box: Array
    label: Array
    score: Array

    def take(self, index: Array) -> Rows:
        """The rows at those places, or under that mask."""
        if index.dtype == bool:
            if index.all():
                return self
            index = np.flatnonzero(index)
        # `take` is quicker than indexing, but copies what is not contiguous.
        return Rows(*(c.take(index, 0) if c.flags.c_contiguous else c.T.take(index, -1).T for c in self))

    def tuples(self, index: Array) -> list[tuple[float, ...]]:
        """What the heap compares: score, label, y1, x1, y2, x2."""
        columns = np.column_stack([self.score[index], self.label[index], self.box[index][:, [1, 0, 3, 2]]])
        return list(map(tuple, columns.tolist()))


def runs(*columns: Array) -> Array:
    """Where runs of rows with equal values start, and the end."""
    size = len(columns[0])
    changes = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [size]]) if size else np.zeros(1, np.int64)


def among(values: Array, wanted: ArrayLike) -> Array:
    """`numpy.isin` for runs of equal values and sorted `wanted`."""
    starts = runs(values)
    first, end = (np.searchsorted(wanted, values[starts[:-1]], side) for side in ("left", "right"))
    return np.repeat(first < end, np.diff(starts))


def kept(rows: Rows, keep: int) -> Array:
    """The places of the `keep` highest scores of every frame.

    Of rows with the score at the limit, those among the first `keep` rows of at least that score enter the heap, and
    the smallest of them, by label and box, leave it again when higher scores come.
    """
    starts = runs(rows.frame)
    counts = np.diff(starts)
    limit = np.full(len(counts), -np.inf)
    for frame in np.flatnonzero(counts > keep):
        scores = rows.score[starts[frame] : starts[frame + 1]]
        limit[frame] = np.partition(scores, len(scores) - keep)[len(scores) - keep]
    places = np.flatnonzero(rows.score >= np.repeat(limit, counts))
    sizes = np.diff(np.searchsorted(places, starts))
    crowded = np.repeat(sizes > keep, sizes)
    if crowded.any():
        tied = rows.score[places] == np.repeat(limit, sizes)
        crowded[crowded] = _leaving(rows, places[crowded], tied[crowded], keep)
    return places[~crowded]


def _leaving(rows: Rows, candidates: Array, tied: Array, keep: int) -> Array:
    """Which of the candidates do not stay, on frames with more than `keep` of them."""
    starts = runs(rows.frame[candidates])
    counts = np.diff(starts)
    frame = np.repeat(np.arange(len(counts)), counts)
    first = np.arange(len(candidates)) - np.repeat(starts[:-1], counts) < keep
    leaving: Array = tied & ~first
    leave = np.bincount(frame[first], minlength=len(counts)) - keep
    leave += np.bincount(frame[~tied & ~first], minlength=len(counts))
    early = np.flatnonzero(tied & first & (leave > 0)[frame])
    index, frame = candidates[early], frame[early]
    x1, y1, x2, y2 = rows.box[index].T
    order = np.lexsort((x2, y2, x1, y1, rows.label[index], frame))
    starts = runs(frame)
    place = np.arange(len(index)) - np.repeat(starts[:-1], np.diff(starts))
    leaving[early[order[place < leave[frame]]]] = True
    return leaving


def heap_order(rows: Rows, index: Array, keep: int) -> Array:
    """The rows `index` of one frame that stay on the heap (all of them for `keep` 0), in the evaluator's order."""
    items = rows.tuples(index)
    heap: list[tuple[float, ...]] = []
    places: dict[tuple[float, ...], list[int]] = {}
    for place, item in zip(index.tolist(), items, strict=True):
        places.setdefault(item, []).append(place)
        if not keep or len(heap) < keep:
            heapq.heappush(heap, item)
        elif item[0] > heap[0][0]:
            heapq.heapreplace(heap, item)
    # Rows that are equal in all columns cannot be told apart: any of their places will do.
    return np.array([places[item].pop(0) for item in sorted(heap, key=lambda item: -item[0])], np.int64)
