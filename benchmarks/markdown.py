"""What the tables of the benchmarks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Spread = dict[str, float]
Part = tuple[str, Callable[[Any], list[str]]]  # (title, result -> lines)


def document(record: dict[str, Any], parts: Mapping[str, Part]) -> str:
    """All parts of a record; one that it lacks is "not run"."""
    lines: list[str] = []
    for part, (title, render) in parts.items():
        lines += ["", f"### {title}", ""]
        if part not in record:
            lines.append("Not run.")
            continue
        lines += [*render(record[part]["result"]), "", where(record[part]["environment"])]
    return "\n".join([*lines[1:], ""])


def where(environment: dict[str, Any]) -> str:
    """Hardware, versions, date and command, in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items())
    return (
        f"*{environment['hardware']}, {environment['threads']} threads; {versions}; {environment['date']}; "
        f"`{environment['command']}`*"
    )


def spread(value: Spread, unit: str = "×", digits: int = 2) -> str:
    """Median and range."""
    low, high = (f"{value[name]:.{digits}f}" for name in ("min", "max"))
    return f"{value['median']:.{digits}f}{unit} ({low}–{high})"
