"""The table of the fault tests, rendered from their record."""

from __future__ import annotations

from typing import Any

from benchmarks import markdown
from benchmarks.reliability.rows import PARTS, ROWS

HEAD = ["", "promise", "trials", "failures", "worst", "seconds", "tests"]


def render(record: dict[str, Any]) -> str:
    """Render all rows by part; one that the record lacks is "not run"."""
    lines: list[str] = []
    for part, title in PARTS.items():
        rows = [_cells(name, record.get(name)) for name in ROWS if name.startswith(part)]
        lines += [f"### {title}", "", *markdown.table(HEAD, rows), ""]
    dates = sorted({row["environment"]["date"] for row in record.values()})
    machines = sorted({row["environment"]["hardware"] for row in record.values()})
    return "\n".join([*lines, f"*{'; '.join([*machines, *dates])}; `python -m benchmarks.reliability`*", ""])


def _cells(name: str, row: dict[str, Any] | None) -> list[str]:
    linked = f'<a id="{name.lower()}"></a>{name}'  # from the page of promises
    if row is None:
        return [linked, ROWS[name], "not run", "", "", "", ""]
    trials = str(row["trials"]) + (f" ({row['skipped']} skipped)" if row["skipped"] else "")
    files = ", ".join(sorted({f"`{test.partition('::')[0].removeprefix('tests/')}`" for test in row["tests"]}))
    return [linked, ROWS[name], trials, str(row["failures"]), row.get("worst", ""), f"{row['seconds']:.1f}", files]
