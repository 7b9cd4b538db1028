"""Which rows of a key frame count, and in which order where scores are equal: as ActivityNet's evaluator has it.

The evaluator pushes the rows of a key frame, in the order of the file, onto a heap that holds `keep` of them, and
then sorts the heap's array by score. Which of several equal scores stay follows in closed form from that (`kept`); in
which order they stand only from the heap itself (`heap_order`), which is run for the few frames where it matters.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Rows(NamedTuple):
    """Boxes sorted by frame (the number of its first appearance), in file order within a frame."""

    frame: Array
    box: Array
    label: Array
    score: Array

    def take(self, index: Array) -> Rows:
        """The rows at those places, or under that mask."""
        if index.dtype == bool and index.all():
            return self
        return Rows(*(column[index] for column in self))

    def tuples(self, index: Array) -> list[tuple[float, ...]]:
        """What the heap compares: score, label, y1, x1, y2, x2."""
        columns = np.column_stack([self.score[index], self.label[index], self.box[index][:, [1, 0, 3, 2]]])
        return list(map(tuple, columns.tolist()))


def runs(values: Array) -> Array:
    """Where runs of equal values start, and the end."""
    if not len(values):
        return np.zeros(1, np.int64)
    return np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]])


def kept(rows: Rows, keep: int) -> Array:
    """Mask of the `keep` highest scores of every frame.

    Of rows with the score at the limit, those among the first `keep` rows of at least that score enter the heap, and
    the smallest of them, by label and box, leave it again when higher scores come.
    """
    starts = runs(rows.frame)
    counts = np.diff(starts)
    limit = np.full(len(counts), -np.inf)
    for frame in np.flatnonzero(counts > keep):
        scores = rows.score[starts[frame] : starts[frame + 1]]
        limit[frame] = np.partition(scores, len(scores) - keep)[len(scores) - keep]
    limits = np.repeat(limit, counts)
    mask = rows.score >= limits
    crowded = np.add.reduceat(mask, starts[:-1], dtype=np.int64) > keep if len(counts) else np.zeros(0, bool)
    candidates = np.flatnonzero(mask & np.repeat(crowded, counts))
    if len(candidates):
        _settle(mask, candidates, rows, rows.score[candidates] == limits[candidates], keep)
    return mask


def _settle(mask: Array, candidates: Array, rows: Rows, tied: Array, keep: int) -> None:
    starts = runs(rows.frame[candidates])
    counts = np.diff(starts)
    frame = np.repeat(np.arange(len(counts)), counts)
    first = np.arange(len(candidates)) - np.repeat(starts[:-1], counts) < keep
    mask[candidates[tied & ~first]] = False
    leave = np.bincount(frame[first], minlength=len(counts)) - keep
    leave += np.bincount(frame[~tied & ~first], minlength=len(counts))
    early = tied & first & (leave > 0)[frame]
    index, frame = candidates[early], frame[early]
    x1, y1, x2, y2 = rows.box[index].T
    order = np.lexsort((x2, y2, x1, y1, rows.label[index], frame))
    starts = runs(frame)
    place = np.arange(len(index)) - np.repeat(starts[:-1], np.diff(starts))
    mask[index[order[place < leave[frame]]]] = False


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
