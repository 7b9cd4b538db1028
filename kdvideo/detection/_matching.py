"""Which detections are right."""

from __future__ import annotations

import numpy as np

from kdvideo.detection._order import Array, Rows, heap_order, kept, runs


def labelled(truth: Rows, detections: Rows, iou: float, keep: int) -> tuple[Array, Array, Array]:
    """Label, score and whether it is right of every detection that counts, by label, frame and falling score.

    The ground truth comes sorted by frame.
    """
    truth, detections = _grouped(truth, detections)
    known, found = _by_group(truth), _by_group(detections.take(kept(detections, keep)))
    right, doubtful = _match(known, found, iou)
    if len(doubtful):
        place = np.flatnonzero(np.isin(found.frame, doubtful))
        again = _by_heap(detections, doubtful, keep)
        right[place], _ = _match(_by_heap(truth, doubtful, 0), again, iou)
        for column, part in zip(found, again, strict=True):
            column[place] = part
    x1, y1, x2, y2 = found.box.T
    solid = (x1 < x2) & (y1 < y2)  # boxes without area take one of the places on a frame, and go then
    return found.label[solid], found.score[solid], right[solid]


def _grouped(truth: Rows, detections: Rows) -> tuple[Rows, Rows]:
    """Both sorted by frame, which becomes its rank of first appearance among the detections."""
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
    """The rows by label, frame and falling score; equals keep their order."""
    order = np.argsort(-rows.score, kind="stable")
    group = rows.label * (rows.frame.max(initial=0) + 1) + rows.frame
    group -= group.min(initial=0)
    while group.any():  # 16 bits at a time, for which numpy has a radix sort
        order = order[np.argsort(group[order].astype(np.uint16), kind="stable")]
        group >>= 16
    return rows.take(order)


def _by_heap(rows: Rows, frames: Array, keep: int) -> Rows:
    """The rows of those frames by label, frame and the evaluator's order."""
    starts, ends = np.searchsorted(rows.frame, frames, "left"), np.searchsorted(rows.frame, frames, "right")
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    return _by_group(rows.take(np.concatenate([heap_order(rows, np.arange(*span), keep) for span in spans])))


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
    ends = runs(group, score)
    starts, size = ends[:-1], np.diff(ends)
    hits = np.add.reduceat(right, starts, dtype=np.int64)
    return starts[(hits > 0) & (hits < size)]


def _iou(a: Array, b: Array) -> Array:
    """Row by row, with the evaluator's order of operations."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(sides, 0).prod(1)
    overlap: Array = shared / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared)
    return overlap
