"""Speed of AVA's frame-mAP: kdvideo beside plain Python, from csv files to the numbers.

    python -m benchmarks.speed.frame_map                # about ten minutes on two cores, 3 GB of disk and 1 of memory
    python -m benchmarks.speed.frame_map --only side_by_side

The plain Python is ours, written here after the structure of ActivityNet's evaluator (row by row, key frame by key
frame, class by class, on numpy arrays), whose own code is not part of this repository.
That code was run beside it and gave kdvideo's APs to the last bit. On 20,000 key frames with all rows (12 million; one
round, two cores, one other process beside, control 1.11×) kdvideo was 25 times as fast and took 22 times less processor
time; on 5,000 and 1,000 key frames 24 and 16 times as fast. The plain Python took 0.6 of that code's time.

Files are generated: boxes near the people of a frame, with a score for each of 60 classes. They come in two forms: all
600 (box, class) rows of a key frame, or its 50 highest only, which are all that count.
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("side_by_side", "alone")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="one of both")
    parser.add_argument("--frames", nargs="+", type=int, default=(1000, 5000), help="sizes of the side by side")
    parser.add_argument("--rounds", type=int, default=5, help="that alternate between what is compared")
    options = parser.parse_args()

import csv
import heapq
import multiprocessing
import resource
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from kdvideo import detection
from kdvideo.training.timing import Timings, spread_of

CLASSES = {number: f"action {number}" for number in range(1, 61)}
VAL_FRAMES = 57_000  # about as many key frames as AVA's validation set has
BOXES, KEEP, IDS = 10, 50, 80


def write_set(folder: Path, frames: int, form: str, seed: int = 0) -> int:
    """Write ground truth (three people, two actions each) and detections; return the number of detection rows."""
    draw = np.random.default_rng(seed)
    rows = 0
    with open(folder / "truth.csv", "w") as truth, open(folder / "detections.csv", "w") as found:
        for frame in range(frames):
            place = f"video{frame // 897:06d},{902 + frame % 897:04d}"
            corner = draw.uniform(0, 0.6, (3, 2))
            people = np.concatenate([corner, corner + draw.uniform(0.1, 0.4, (3, 2))], 1)
            actions = draw.integers(1, len(CLASSES) + 1, (3, 2))
            for person, box in enumerate(people):
                for action in set(actions[person].tolist()):
                    truth.write(f"{place},{_fractions(box)},{action},{person}\n")
            who = np.arange(BOXES) % 3
            boxes = np.sort((people[who] + draw.normal(0, 0.04, (BOXES, 4))).clip(0, 1).reshape(-1, 2, 2), 1)
            scores = draw.beta(0.3, 4, (BOXES, len(CLASSES)))
            np.put_along_axis(scores, actions[who] - 1, draw.beta(2, 3, (BOXES, 2)), 1)
            limit = np.partition(scores.ravel(), -KEEP)[-KEEP] if form == "highest" else -1
            for box, row in zip(boxes.reshape(-1, 4), scores, strict=True):
                head = f"{place},{_fractions(box)},"
                listed = np.flatnonzero(row >= limit).tolist()
                found.write("".join(f"{head}{number + 1},{row[number]:.4f}\n" for number in listed))
                rows += len(listed)
    return rows


def _fractions(box: np.ndarray) -> str:
    return ",".join(f"{value:.3f}" for value in box.tolist())


def ours(folder: Path) -> dict[str, float]:
    """Compute class -> AP with kdvideo."""
    return detection.frame_map(folder / "truth.csv", folder / "detections.csv", CLASSES).per_class


def plain(folder: Path) -> dict[str, float]:
    """Compute class -> AP with loops."""
    known, found = _heaps(folder / "truth.csv", 0), _heaps(folder / "detections.csv", KEEP)
    totals = np.zeros(IDS, int)
    for _, labels, _ in known.values():
        for label in range(IDS):
            totals[label] += np.sum(labels == label + 1)
    scores: list[list[np.ndarray]] = [[] for _ in range(IDS)]
    right: list[list[np.ndarray]] = [[] for _ in range(IDS)]
    for key, (boxes, labels, values) in found.items():
        if key not in known:
            continue
        solid = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        boxes, labels, values = boxes[solid], labels[solid], values[solid]
        for label in range(IDS):
            mine = labels == label + 1
            there = known[key][0][known[key][1] == label + 1]
            if mine.any():
                scores[label].append(values[mine])
                right[label].append(_verdicts(boxes[mine], there))
    pairs = zip(CLASSES.items(), scores, right, totals, strict=False)
    return {name: _average_precision(s, r, int(total)) for (_, name), s, r, total in pairs}


def _heaps(path: Path, keep: int) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    heaps: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    with open(path, newline="") as stream:
        for row in csv.reader(stream):
            key = f"{row[0]},{Decimal(row[1]):.6f}"
            x1, y1, x2, y2 = (float(value) for value in row[2:6])
            action, score = int(row[6]), float(row[7])
            if action not in CLASSES:
                continue
            heap = heaps[key]
            if not keep or len(heap) < keep:
                heapq.heappush(heap, (score, action, y1, x1, y2, x2))
            elif score > heap[0][0]:
                heapq.heapreplace(heap, (score, action, y1, x1, y2, x2))
    result = {}
    for key, heap in heaps.items():
        items = np.array(sorted(heap, key=lambda item: -item[0]))
        result[key] = items[:, 2:], items[:, 1].astype(int), items[:, 0]
    return result


def _verdicts(boxes: np.ndarray, there: np.ndarray) -> np.ndarray:
    right = np.zeros(len(boxes), bool)
    if not len(there):
        return right
    low = np.maximum(boxes[:, None, :2], there[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], there[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(2)
    areas = [(part[:, 2:] - part[:, :2]).prod(1) for part in (boxes, there)]
    overlap = shared / (areas[0][:, None] + areas[1][None] - shared)
    taken = np.zeros(len(there), bool)
    for number, best in enumerate(overlap.argmax(1)):
        if overlap[number, best] >= 0.5 and not taken[best]:
            right[number] = taken[best] = True
    return right


def _average_precision(scores: list[np.ndarray], right: list[np.ndarray], total: int) -> float:
    if not total or not scores:
        return 0.0 if total else float("nan")
    hits = np.cumsum(np.concatenate(right)[np.argsort(np.concatenate(scores))[::-1]])
    precision = np.concatenate([[0], hits / np.arange(1, len(hits) + 1), [0]])
    recall = np.concatenate([[0], hits / total, [1]])
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(np.sum((recall[steps] - recall[steps - 1]) * precision[steps]))


def side_by_side(frames: int, form: str, rounds: int) -> dict[str, Any]:
    """Time both on the same files, in turn; kdvideo twice as the control."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = write_set(folder, frames, form)
        arms = {
            "kdvideo": partial(ours, folder),
            "plain": partial(plain, folder),
            "kdvideo again": partial(ours, folder),
        }
        timings = Timings(arms, rounds)
        found, expected = (np.array(list(timings.last[arm].values())) for arm in ("kdvideo", "plain"))  # type: ignore[attr-defined]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    return {
        "rows": rows,
        "mAP": round(float(np.nanmean(found)), 6),
        "speed": timings.ratio("kdvideo", "plain"),
        "control": timings.ratio("kdvideo again", "kdvideo"),
        "processor": spread_of([a / b for a, b in zip(timings.cpu["plain"], timings.cpu["kdvideo"], strict=True)]),
        "seconds": {arm: round(float(np.median(spent)), 3) for arm, spent in timings.wall.items()},
    }


def alone(form: str, rounds: int) -> dict[str, Any]:
    """Measure kdvideo on a set of the size of AVA's validation set: seconds, and the peak memory of a fresh process."""
    with tempfile.TemporaryDirectory() as name:
        rows = write_set(Path(name), VAL_FRAMES, form)
        size = (Path(name) / "detections.csv").stat().st_size
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            seconds, memory = pool.submit(_measure, Path(name), rounds).result()
    return {"rows": rows, "file_GB": round(size / 1e9, 2), "seconds": seconds, "peak_GB": memory}


def _measure(folder: Path, rounds: int) -> tuple[list[float], float]:
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        ours(folder)
        seconds.append(round(time.perf_counter() - start, 2))
    return seconds, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def main(options: argparse.Namespace) -> None:
    """Measure the parts asked for; the record keeps the latest of each."""
    for part in options.only:
        found = {}
        for form in ("all", "highest"):
            if part == "alone":
                found[form] = alone(form, options.rounds)
            else:
                found[form] = {str(count): side_by_side(count, form, options.rounds) for count in options.frames}
        environment = record.environment(
            f"python -m benchmarks.speed.frame_map --only {part}", multiprocessing.cpu_count()
        )
        record.update("speed_frame_map", part, {"result": found, "environment": environment}, markdown)


FORMS = {"all": f"all {BOXES * len(CLASSES)} rows of a key frame", "highest": f"its {KEEP} highest"}
HEAD = ("key frames", "in the file", "rows", "kdvideo", "plain Python", "faster", "control", "less processor time")


def markdown(result: dict[str, Any]) -> str:
    """Render the table; every number comes from `result`."""
    rows: list[tuple[str, ...]] = [HEAD, ("---",) * len(HEAD)]
    for form, words in FORMS.items():
        for frames, found in result.get("side_by_side", {}).get("result", {}).get(form, {}).items():
            rows.append((f"{int(frames):,}", words, f"{found['rows']:,}", *_compared(found)))
    for form, words in FORMS.items():
        if found := result.get("alone", {}).get("result", {}).get(form):
            took = f"{np.median(found['seconds']):.1f} s, {found['peak_GB']:.1f} GB of memory"
            rows.append((f"{VAL_FRAMES:,}", words, f"{found['rows']:,}", took, "not run", "", "", ""))
    machine = next(iter(result.values()))["environment"]
    note = (
        "From csv files to the mAP, medians (and range) over rounds that alternate; the control is kdvideo against "
        "itself. The plain Python is ours, after the structure of ActivityNet's evaluator. "
        f"{machine['hardware']}, load average {machine['load_average']}."
    )
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", note, ""])


def _compared(found: dict[str, Any]) -> tuple[str, ...]:
    seconds = [f"{found['seconds'][arm]:.2f} s" for arm in ("kdvideo", "plain")]
    times = [
        f"{found[name]['median']:.0f}× ({found[name]['min']:.0f}–{found[name]['max']:.0f})"
        for name in ("speed", "processor")
    ]
    return *seconds, times[0], f"{found['control']['median']:.2f}×", times[1]


if __name__ == "__main__":
    main(options)
