"""Rules that rows of boxes must obey, in files as in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from kdvideo.detection.annotations import Annotations, Boxes, Detections

Array = np.ndarray[Any, np.dtype[Any]]
MARGIN = 0.01  # boxes drawn by hand end up to a pixel or so outside the frame
MAX_SECOND = 1e6
SHOWN = 5


def broken_rules(columns: Mapping[str, Array], num_actions: int) -> list[tuple[str, Array]]:
    """Return the rules that rows break, and which rows (N,) break them.

    Args:
        columns: "second" (N,), "boxes" (N, 4), and those of "action", "person" and "score" (N,) that there are.
        num_actions: the highest action id.
    """
    x1, y1, x2, y2 = columns["boxes"].T
    rules = [
        (f"the second must be in 0 … {MAX_SECOND:g}", _outside(columns["second"], 0, MAX_SECOND)),
        (
            "the box must lie in the frame (x1,y1,x2,y2 are fractions from 0 to 1, not pixels)",
            _outside(columns["boxes"], -MARGIN, 1 + MARGIN),
        ),
        ("the box must have x1 <= x2 and y1 <= y2", (x1 > x2) | (y1 > y2)),
    ]
    if "action" in columns:
        rules.append((f"action ids must be in 1 … {num_actions}", _outside(columns["action"], 1, num_actions)))
    if "person" in columns:
        person = columns["person"]
        rules.append(("the person must be a whole number", ~(np.isfinite(person) & (np.floor(person) == person))))
    if "score" in columns:
        rules.append(("the score must be a finite number", ~np.isfinite(columns["score"])))
    return [(rule, mask if mask.ndim == 1 else mask.any(1)) for rule, mask in rules if mask.any()]


def first_problems(broken: Sequence[tuple[str, Array]]) -> tuple[list[tuple[int, str]], int]:
    """Return the first bad rows, each with a rule that it breaks, and the number of all bad rows."""
    rows = np.flatnonzero(np.logical_or.reduce([mask for _, mask in broken]))
    return [(row, next(rule for rule, mask in broken if mask[row])) for row in rows[:SHOWN].tolist()], len(rows)


def refuse(source: str, problems: Sequence[tuple[int, str]], count: int, *, place: str = "line") -> NoReturn:
    """Raise a `ValueError` that shows the first problems by their places and counts all.

    Raises:
        ValueError: always.
    """
    shown = [f"{place} {number}: {text}" for number, text in problems[:SHOWN]]
    more = [f"and {count - len(shown)} more bad rows"] if count > len(shown) else []
    raise ValueError("\n  ".join([f"{source}: {shown[0]}", *shown[1:], *more]))


def check_table(rows: Annotations | Detections, source: str, *, num_actions: int) -> None:
    """Refuse a table whose rows would be refused in a file.

    Raises:
        ValueError: the first of them, by their places from 0.
    """
    last = "score" if isinstance(rows, Detections) else "person"
    names = ("video", "second", "boxes", "action", last)
    columns = {name: getattr(rows, name).detach().cpu().numpy() for name in names}
    count = len(columns["video"])
    shapes = [column.shape for column in columns.values()]
    if shapes != [(count,), (count,), (count, 4), (count,), (count,)]:
        raise ValueError(f"{source}: columns must have shapes (N,), (N,), (N, 4), (N,), (N,), got {shapes}")
    if not count:
        raise ValueError(f"{source}: no box in it")
    if broken := broken_rules(columns, num_actions):
        found, total = first_problems(broken)
        problems = []
        for row, rule in found:
            video, *numbers = (column[row].ravel() for column in columns.values())
            values = [rows.videos[int(video[0])], *(f"{value:g}" for value in np.concatenate(numbers))]
            problems.append((row, f"{rule}, got {','.join(values)}"))
        refuse(source, problems, total, place="row")


def check_videos(rows: Boxes, known: Boxes, source: str) -> None:
    """Refuse rows of videos that `known` does not have.

    Raises:
        ValueError: counts and names these videos.
    """
    names = set(known.videos) | {video for video, _ in getattr(known, "empty", ())}
    unknown = [name for name in rows.videos if name not in names]
    if unknown:
        shown = ", ".join(map(repr, unknown[:SHOWN])) + (", …" if len(unknown) > SHOWN else "")
        raise ValueError(
            f"{source}: {len(unknown)} of {len(rows.videos)} videos are not in the ground truth: {shown}; "
            f"names there look like {min(names)!r}"
        )


def _outside(values: Array, low: float, high: float) -> Array:
    """Return which values are outside or NaN, after two quick passes where none is."""
    if not len(values) or (values.min() >= low and values.max() <= high):  # min and max of NaN are NaN
        return np.zeros(0, bool)
    outside: Array = ~((values >= low) & (values <= high))
    return outside
