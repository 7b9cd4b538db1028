"""Matching of detections to ground truth, in the order that ActivityNet's evaluator has.

The evaluator pushes the rows of a key frame, in the order of the file, onto a heap that holds `keep` of them, and then
sorts the heap's array by score. Which of several equal scores stay follows in closed form from that (`kept`). In which
order they stand follows only from the heap itself (`heap_order`), which is run for the few key frames where it matters.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from kdvideo.detection.row_rules import Array


class Rows(NamedTuple):
    """Boxes, one row for each (box, class) pair.

    Args:
        frame: (N,) key frames, as whole numbers.
        box: (N, 4) x1, y1, x2, y2.
        label: (N,) class ids.
        score: (N,).
    """

    frame: Array
    box: Array
    label: Array
    score: Array

    def take(self, index: Array) -> Rows:
        """Return the rows at those places, or under that mask."""
        if index.dtype == bool:
            if index.all():
                return self
            index = np.flatnonzero(index)
        # `take` is quicker than indexing, but copies what is not contiguous.
        return Rows(*(c.take(index, 0) if c.flags.c_contiguous else c.T.take(index, -1).T for c in self))


def match_rows(truth: Rows, detections: Rows, iou: float, keep: int) -> tuple[Array, Array, Array]:
    """Match the `keep` highest rows of every key frame to ground truth that comes sorted by frame.

    Returns:
        The label and the score of every detection that counts, and whether it is right (it finds a box), (N,) each:
        by label, key frame in the order of the detections, and falling score.
    """
    truth, detections = _by_first_appearance(truth, detections)
    known, found = _by_group(truth), _by_group(detections.take(kept(detections, keep)))
    right, doubtful = _match(known, found, iou)
    if len(doubtful):
        place = np.flatnonzero(np.isin(found.frame, doubtful))
        again = _by_heap(detections, doubtful, keep)
        right[place], _ = _match(_by_heap(truth, doubtful, 0), again, iou)
        for column, part in zip(found, again, strict=True):
            column[place] = part
    x1, y1, x2, y2 = found.box.T
    # As in the evaluator, boxes without area take one of the `keep` places on a key frame before they are dropped.
    solid = (x1 < x2) & (y1 < y2)
    return found.label[solid], found.score[solid], right[solid]


def runs(*columns: Array) -> Array:
    """Return where runs of rows with equal values start, and the end."""
    size = len(columns[0])
    changes = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [size]]) if size else np.zeros(1, np.int64)


def among(values: Array, wanted: Array) -> Array:
    """Compute `numpy.isin` for runs of equal values and sorted `wanted`: quick where runs are long."""
    starts = runs(values)
    first, end = (np.searchsorted(wanted, values[starts[:-1]], side) for side in ("left", "right"))
    return np.repeat(first < end, np.diff(starts))


def kept(rows: Rows, keep: int) -> Array:
    """Return the places of the `keep` highest scores of every frame; rows come sorted by frame.

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
    """Return which of the candidates do not stay, on frames with more than `keep` of them."""
    starts = runs(rows.frame[candidates])
    counts = np.diff(starts)
    frame = np.repeat(np.arange(len(counts)), counts)
    first = np.arange(len(candidates)) - np.repeat(starts[:-1], counts) < keep
    leaving: Array = tied & ~first  # the heap takes only scores above its lowest
    # Every higher score that comes after the first `keep` pushes one tied row out.
    leave = np.bincount(frame[first], minlength=len(counts)) - keep
    leave += np.bincount(frame[~tied & ~first], minlength=len(counts))
    early = np.flatnonzero(tied & first & (leave > 0)[frame])
    index, frame = candidates[early], frame[early]
    x1, y1, x2, y2 = rows.box[index].T
    order = np.lexsort((x2, y2, x1, y1, rows.label[index], frame))  # the heap compares scores, labels, then boxes
    starts = runs(frame)
    place = np.arange(len(index)) - np.repeat(starts[:-1], np.diff(starts))
    leaving[early[order[place < leave[frame]]]] = True
    return leaving


def heap_order(rows: Rows, index: Array, keep: int) -> Array:
    """Return the rows `index` of one frame that stay on the heap (all for `keep` 0), in the evaluator's order."""
    columns = np.column_stack([rows.score[index], rows.label[index], rows.box[index][:, [1, 0, 3, 2]]])
    heap: list[tuple[float, ...]] = []
    places: dict[tuple[float, ...], list[int]] = {}
    for place, item in zip(index.tolist(), map(tuple, columns.tolist()), strict=True):
        places.setdefault(item, []).append(place)
        if not keep or len(heap) < keep:
            heapq.heappush(heap, item)
        elif item[0] > heap[0][0]:
            heapq.heapreplace(heap, item)
    # Rows that are equal in all columns cannot be told apart: any of their places will do.
    return np.array([places[item].pop(0) for item in sorted(heap, key=lambda item: -item[0])], np.int64)


def _by_first_appearance(truth: Rows, detections: Rows) -> tuple[Rows, Rows]:
    """Sort both by frame, renumbered by first appearance among the detections; ground truth elsewhere is left out.

    The evaluator collects scores in this order, which decides among equal ones: its sort is not stable.
    """
    starts = runs(detections.frame)[:-1]
    names, first, inverse = np.unique(detections.frame[starts], return_index=True, return_inverse=True)
    place = np.argsort(first)
    rank = np.empty(len(names), np.int64)
    rank[place] = np.arange(len(names))
    frame = np.repeat(rank[inverse.reshape(-1)], np.diff(np.append(starts, len(detections.frame))))
    detections = detections._replace(frame=frame)
    if len(starts) > len(names):
        detections = detections.take(np.argsort(frame, kind="stable"))
    start, end = (np.searchsorted(truth.frame, names[place], side) for side in ("left", "right"))
    count = end - start
    index = np.arange(count.sum()) + np.repeat(start - (np.cumsum(count) - count), count)
    return truth.take(index)._replace(frame=np.repeat(np.arange(len(names)), count)), detections


def _by_group(rows: Rows) -> Rows:
    """Sort by label, frame and falling score; equals keep their order."""
    return rows.take(np.lexsort((-rows.score, rows.frame, rows.label)))


def _by_heap(rows: Rows, frames: Array, keep: int) -> Rows:
    """Sort the rows of those frames by label, frame and the evaluator's order."""
    starts, ends = np.searchsorted(rows.frame, frames, "left"), np.searchsorted(rows.frame, frames, "right")
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    return _by_group(rows.take(np.concatenate([heap_order(rows, np.arange(*span), keep) for span in spans])))


def _match(truth: Rows, detections: Rows, iou: float) -> tuple[Array, Array]:
    """Return which detections are right, and the frames on which the order of equals decides that.

    Both come sorted by group (a label on a frame), the detections of a group in the order in which they choose.
    """
    right = np.zeros(len(detections.frame), bool)
    span = max(int(rows.frame.max(initial=0)) for rows in (truth, detections)) + 1
    known, found = truth.label * span + truth.frame, detections.label * span + detections.frame
    x1, y1, x2, y2 = detections.box.T
    first = np.searchsorted(known, found, "left")
    count = np.where((x1 < x2) & (y1 < y2), np.searchsorted(known, found, "right") - first, 0)
    choosing = np.flatnonzero(count)
    if not len(choosing):
        return right, choosing
    # One row for each pair of a detection and a box of its group.
    count = count[choosing]
    starts = np.cumsum(count) - count
    chooser = np.repeat(choosing, count)
    chosen = np.repeat(first[choosing] - starts, count) + np.arange(len(chooser))
    overlap = _iou(detections.box[chooser], truth.box[chosen])
    best = np.repeat(np.maximum.reduceat(overlap, starts), count)
    wanted = np.flatnonzero((overlap == best) & (best >= iou))
    chooser, chosen = chooser[wanted], chosen[wanted]
    # A detection chooses the first of the boxes that it overlaps most; that order is the heap's where they differ.
    leads = runs(chooser)[:-1]
    lead = np.repeat(leads, np.diff(np.append(leads, len(chooser))))
    unsure = (truth.box[chosen] != truth.box[chosen[lead]]).any(1)
    # Of the detections that choose a box, the first finds it; the others are wrong, whatever else they overlap.
    _, winner = np.unique(chosen[leads], return_index=True)
    right[chooser[leads[winner]]] = True
    frames = [detections.frame[chooser[unsure]], detections.frame[_mixed(found, detections.score, right)]]
    return right, np.unique(np.concatenate(frames))


def _mixed(group: Array, score: Array, right: Array) -> Array:
    """Return a row of each run of equal scores in which some are right and some are not."""
    ends = runs(group, score)
    starts, size = ends[:-1], np.diff(ends)
    hits = np.add.reduceat(right, starts, dtype=np.int64)
    return starts[(hits > 0) & (hits < size)]


def _iou(a: Array, b: Array) -> Array:
    """Compute the IoU row by row, with the evaluator's order of operations: other orders round otherwise."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(sides, 0).prod(1)
    overlap: Array = shared / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared)
    return overlap
