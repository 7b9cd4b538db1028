"""Which detections are right."""

from __future__ import annotations

import numpy as np

from kdvideo.detection._order import Array, Rows, heap_order, kept, runs


def labelled(truth: Rows, detections: Rows, iou: float, keep: int) -> tuple[Array, Array, Array]:
    """Label, score and whether it is right of every detection that counts, by label, frame and falling score."""
    truth, detections = _grouped(truth, detections)
    mask = kept(detections, keep)
    known, found = _by_group(truth), _by_group(detections, mask=mask)
    right, doubtful = _match(truth.take(known), detections.take(found), iou)
    if len(doubtful):
        again = np.zeros(int(detections.frame[-1]) + 1, bool)
        again[doubtful] = True
        place = np.flatnonzero(again[detections.frame[found]])
        known, found[place] = _by_heap(truth, detections, doubtful, again, keep, mask)
        right[place], _ = _match(truth.take(known), detections.take(found[place]), iou)
    x1, y1, x2, y2 = detections.box[found].T
    solid = (x1 < x2) & (y1 < y2)  # boxes without area take one of the places on a frame, and go then
    return detections.label[found][solid], detections.score[found][solid], right[solid]


def _grouped(truth: Rows, detections: Rows) -> tuple[Rows, Rows]:
    """Both sorted by frame, which becomes its rank of first appearance among the detections."""
    starts = runs(detections.frame)[:-1]
    names, first, inverse = np.unique(detections.frame[starts], return_index=True, return_inverse=True)
    rank = np.empty(len(names), np.int64)
    rank[np.argsort(first)] = np.arange(len(names))
    frame = np.repeat(rank[inverse.reshape(-1)], np.diff(np.append(starts, len(detections.frame))))
    detections = detections._replace(frame=frame)
    if len(starts) > len(names):
        detections = detections.take(np.argsort(frame, kind="stable"))
    truth = truth.take(np.isin(truth.frame, names))
    truth = truth._replace(frame=rank[np.searchsorted(names, truth.frame)])
    return truth.take(np.argsort(truth.frame, kind="stable")), detections


def _by_group(rows: Rows, *, rank: Array | None = None, mask: Array | None = None) -> Array:
    """The places of the rows, by label, frame, falling score and rank."""
    index = np.arange(len(rows.frame)) if mask is None else np.flatnonzero(mask)
    keys = [-rows.score[index], rows.label[index] * (rows.frame.max(initial=0) + 1) + rows.frame[index]]
    return index[np.lexsort(keys if rank is None else [rank[index], *keys])]


def _by_heap(
    truth: Rows, detections: Rows, frames: Array, marked: Array, keep: int, mask: Array
) -> tuple[Array, Array]:
    """The places of those frames' rows in both, by label, frame and the evaluator's order."""
    everything = np.ones(len(truth.frame), bool)
    rank = _heap_ranks(truth, frames, 0, everything)
    known = _by_group(truth, mask=marked[truth.frame], rank=rank)
    rank = _heap_ranks(detections, frames, keep, mask)
    return known, _by_group(detections, mask=mask & marked[detections.frame], rank=rank)


def _heap_ranks(rows: Rows, frames: Array, keep: int, mask: Array) -> Array:
    """Places within those frames in the evaluator's order, 0 elsewhere; `mask` then marks the rows that it keeps."""
    rank = np.zeros(len(rows.frame), np.int64)
    starts, ends = np.searchsorted(rows.frame, frames, "left"), np.searchsorted(rows.frame, frames, "right")
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        order = heap_order(rows, np.arange(start, end), keep)
        rank[order] = np.arange(len(order))
        mask[start:end] = False
        mask[order] = True
    return rank


def _match(truth: Rows, detections: Rows, iou: float) -> tuple[Array, Array]:
    """Which detections are right, and the frames in which that depends on the order of equals.

    Both come sorted by group, and the detections of a group in the order in which they choose.
    """
    right = np.zeros(len(detections.frame), bool)
    known, found = _groups(truth, detections)
    x1, y1, x2, y2 = detections.box.T
    first = np.searchsorted(known, found, "left")
    count = np.where((x1 < x2) & (y1 < y2), np.searchsorted(known, found, "right") - first, 0)
    choosing = np.flatnonzero(count)
    if not len(choosing):
        return right, choosing
    count = count[choosing]
    starts = np.cumsum(count) - count
    chooser = np.repeat(choosing, count)
    chosen = np.repeat(first[choosing] - starts, count) + np.arange(len(chooser))
    overlap = _iou(detections.box[chooser], truth.box[chosen])
    best = np.repeat(np.maximum.reduceat(overlap, starts), count)
    wanted = np.flatnonzero((overlap == best) & (best >= iou))
    chooser, chosen = chooser[wanted], chosen[wanted]
    leads = runs(chooser)[:-1]
    lead = np.repeat(leads, np.diff(np.append(leads, len(chooser))))
    unsure = (truth.box[chosen] != truth.box[chosen[lead]]).any(1)
    _, winner = np.unique(chosen[leads], return_index=True)
    right[chooser[leads[winner]]] = True
    frames = [detections.frame[chooser[unsure]], detections.frame[_mixed(found, detections.score, right)]]
    return right, np.unique(np.concatenate(frames))


def _groups(truth: Rows, detections: Rows) -> tuple[Array, Array]:
    span = max(int(rows.frame.max(initial=0)) for rows in (truth, detections)) + 1
    return truth.label * span + truth.frame, detections.label * span + detections.frame


def _mixed(group: Array, score: Array, right: Array) -> Array:
    """A row of each run of equal scores in which some are right and some are not."""
    starts = np.flatnonzero(np.concatenate([[True], (group[1:] != group[:-1]) | (score[1:] != score[:-1])]))
    size = np.diff(np.append(starts, len(score)))
    hits = np.add.reduceat(right, starts, dtype=np.int64)
    return starts[(hits > 0) & (hits < size)]


def _iou(a: Array, b: Array) -> Array:
    """Row by row, with the evaluator's order of operations."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(sides, 0).prod(1)
    overlap: Array = shared / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared)
    return overlap
