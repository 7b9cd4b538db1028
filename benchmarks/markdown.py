"""Tables and documents in Markdown, rendered from the records of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Spread = dict[str, float]
Part = tuple[str, Callable[[Any], list[str]]]  # (title, result -> lines)


def document(record: Mapping[str, Any], parts: Mapping[str, Part]) -> str:
    """Render all parts of a record; one that it lacks is "Not run"."""
    lines: list[str] = []
    for part, (title, render) in parts.items():
        lines += ["", f"### {title}", ""]
        if part not in record:
            lines.append("Not run.")
            continue
        lines += [*render(record[part]["result"]), "", where(record[part]["environment"])]
    return "\n".join([*lines[1:], ""])


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    r"""Return the lines of a table: headings, rule, rows.

    Raises:
        ValueError: a row has another number of cells than there are headings.

    Examples:
        >>> print(*table(["network", "ms"], [("S3D", "1.5"), ("I3D", "2.0")]), sep="\n")
        | network | ms |
        |---|---|
        | S3D | 1.5 |
        | I3D | 2.0 |
    """
    lines = [f"| {' | '.join(headings).lstrip()} |", "|" + "---|" * len(headings)]
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"a row must have {len(headings)} cells, one for each heading, got {len(row)}: {row!r}")
        lines.append(f"| {' | '.join(row)} |")
    return lines


def spread(value: Spread, unit: str = "×", digits: int = 2) -> str:
    """Format a median and its range.

    Examples:
        >>> spread({"median": 1.5, "min": 1.25, "max": 2.0})
        '1.50× (1.25–2.00)'
    """
    low, high = (f"{value[name]:.{digits}f}" for name in ("min", "max"))
    return f"{value['median']:.{digits}f}{unit} ({low}–{high})"


def where(environment: Mapping[str, Any]) -> str:
    """Format hardware, versions, date and command in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    return (
        f"*{environment['hardware']}, {environment['threads']} threads; {versions}; {environment['date']}; "
        f"`{environment['command']}`*"
    )
