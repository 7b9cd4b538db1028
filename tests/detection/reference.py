"""Frame-mAP by plain loops over rows, written from the description of ActivityNet's protocol; slow."""

from __future__ import annotations

import heapq
import math

import numpy as np

Row = tuple[int, int, tuple[float, float, float, float], float]  # frame, label, (x1, y1, x2, y2), score
Item = tuple[float, int, float, float, float, float]  # score, label, y1, x1, y2, x2


def heaps(rows: list[Row], classes: set[int], capacity: int) -> dict[int, list[Item]]:
    """Frame -> its rows by falling score, after a heap of that capacity (0: any) has seen them."""
    found: dict[int, list[Item]] = {}
    for frame, label, (x1, y1, x2, y2), score in rows:
        if label not in classes:
            continue
        heap = found.setdefault(frame, [])
        if not capacity or len(heap) < capacity:
            heapq.heappush(heap, (score, label, y1, x1, y2, x2))
        elif score > heap[0][0]:
            heapq.heapreplace(heap, (score, label, y1, x1, y2, x2))
    return {frame: sorted(heap, key=lambda item: -item[0]) for frame, heap in found.items()}


def overlap(a: Item, b: Item) -> float:
    height = max(0.0, min(a[4], b[4]) - max(a[2], b[2]))
    width = max(0.0, min(a[5], b[5]) - max(a[3], b[3]))
    area = [(item[4] - item[2]) * (item[5] - item[3]) for item in (a, b)]
    return height * width / (area[0] + area[1] - height * width)


def verdicts(found: list[Item], known: list[Item]) -> list[bool]:
    taken, right = set(), []
    for item in found:
        overlaps = [overlap(item, other) for other in known]
        best = overlaps.index(max(overlaps)) if overlaps else -1
        hit = best >= 0 and overlaps[best] >= 0.5 and best not in taken
        if hit:
            taken.add(best)
        right.append(hit)
    return right


def voc_ap(scores: list[float], right: list[bool], total: int) -> float:
    if not total:
        return math.nan
    order = np.argsort(np.array(scores))[::-1].tolist()
    hits, points = 0, []
    for number, place in enumerate(order, 1):
        hits += right[place]
        points.append((hits / total, hits / number))
    area, before = 0.0, 0.0
    for place, (recall, _) in enumerate(points):
        if recall > before:
            area += (recall - before) * max(precision for _, precision in points[place:])
            before = recall
    return area


def frame_ap(
    truth: list[Row], detections: list[Row], classes: list[int], empty: set[int], keep: int
) -> dict[int, float]:
    """Label -> AP; NaN without ground truth."""
    listed = set(classes)
    known, found = heaps(truth, listed, 0), heaps(detections, listed, keep)
    frames = {row[0] for row in truth} | empty
    result = {}
    for label in classes:
        scores: list[float] = []
        right: list[bool] = []
        for frame, items in found.items():
            if frame in frames:
                mine = [i for i in items if i[1] == label and i[2] < i[4] and i[3] < i[5]]
                scores += [item[0] for item in mine]
                right += verdicts(mine, [item for item in known.get(frame, []) if item[1] == label])
        total = sum(item[1] == label for items in known.values() for item in items)
        result[label] = voc_ap(scores, right, total)
    return result
