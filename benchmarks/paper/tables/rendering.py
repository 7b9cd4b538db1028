"""A record as a Markdown table; ours and the paper's numbers stand in columns of their own."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

from benchmarks import markdown
from benchmarks.paper.tables import paper_numbers
from benchmarks.paper.tables.records import values
from benchmarks.paper.tables.scales import SCALES
from benchmarks.paper.tables.table import Record, Row, Table
from examples.d3d import comparison

NOT_RUN = "not run"
OTHERS = "not run (the paper quotes it)"


def document(table: Table, record: Record) -> str:
    """Render caption, table, protocol and how it was run."""
    body = table.body(table, record) if table.body else rows(table, record)
    picture = [f"![{table.name}](img/{record['picture']})", ""] if record.get("picture") else []
    parts = [caption(table, record), "", *body, "", *picture, *per_class(table, record), table.protocol]
    return "\n".join([*parts, "", where(record), ""])


def caption(table: Table, record: Record) -> str:
    """Say what is shown, and on which data each side was measured."""
    ours = f"Ours: {table.metric.name} in {table.metric.unit} on {record['data']}, scale {record['scale']}"
    theirs = " The paper's numbers are from the data sets that its columns name." if table.paper_columns else ""
    kinetics = "" if SCALES[record["scale"]].published else ", **not on the data of the paper**"
    number = table.name.replace("table", "Table ").replace("figure", "Figure ")
    title = f"**{number} of the paper: {paper_numbers.caption(table.name)}.**"
    return f"{title} {ours}{kinetics}, mean ± standard error over the seeds.{theirs}"


def rows(table: Table, record: Record) -> list[str]:
    """Render one line a row: our value, its seeds, the paper's values."""
    metric = table.metric
    heads = [f"ours: {metric.name} ({metric.unit})", "seeds", *(f"paper ({head})" for head in table.paper_columns)]
    cells = []
    for row in table.rows:
        published = table.published(row)
        theirs = [_number(published.get(head), metric.published_digits) for head in table.paper_columns]
        cells.append([row.name, value(table, record, row), str(len(values(record, row.name)) or ""), *theirs])
    return markdown.table(["", *heads], cells)


def per_class(table: Table, record: Record) -> list[str]:
    """Render the mean over the seeds for every class, folded away; no line where the metric knows no classes."""
    known = {row.name: found for row in table.rows if (found := _classes(record, row.name))}
    if not known:
        return []
    classes = sorted({name for found in known.values() for name in found})
    lines = ["<details markdown>", f"<summary>{table.metric.name} of every class</summary>", ""]
    digits = table.metric.digits
    cells = [[row, *(_number(found.get(name), digits) for name in classes)] for row, found in known.items()]
    return [*lines, *markdown.table(["", *classes], cells), "", "</details>", ""]


def _classes(record: Record, row: str) -> dict[str, float]:
    seeds = record["rows"].get(row, {}).get("seeds", {}).values()
    each = [entry["per_class"] for entry in seeds if entry["per_class"]]
    names = dict.fromkeys(name for one in each for name in one)
    return {name: fmean(one[name] for one in each if name in one) for name in names}


def value(table: Table, record: Record, row: Row) -> str:
    """Render mean ± standard error of a row, or that it was not run."""
    known = values(record, row.name)
    if not known:
        return NOT_RUN if row.of else OTHERS
    summary = comparison.summarize(known)
    mean = f"{summary.mean:.{table.metric.digits}f}"
    if summary.standard_error is None:
        return f"{mean} (one seed: no spread)"
    return f"{mean} ± {summary.standard_error:.{table.metric.digits}f}"


def where(record: Record) -> str:
    """Render hardware, versions, commits, dates and commands behind the values."""
    used = {entry["environment"] for row in record["rows"].values() for entry in row["seeds"].values()}
    environments = [record["environments"][number] for number in sorted(used)]
    if not environments:
        return "*Nothing of it was run yet.*"
    parts = [_every(environments, part) for part in (_hardware, _versions, _commit, _date, _command)]
    return f"*{'; '.join(parts)}*"


def _every(environments: list[dict[str, Any]], part: Callable[[dict[str, Any]], str]) -> str:
    return ", ".join(dict.fromkeys(map(part, environments)))


def _hardware(one: dict[str, Any]) -> str:
    capability = f", {one['cpu_capability']}" if "cpu_capability" in one else ""  # older records lack it
    threads = f"{one['threads']} threads" if one["threads"] > 1 else "1 thread"
    return f"{one['hardware']}{capability}, {threads}"


def _versions(one: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in one["versions"].items())


def _commit(one: dict[str, Any]) -> str:
    return f"commit {one['commit'][:10]}{' with changes' if one['uncommitted_changes'] else ''}"


def _date(one: dict[str, Any]) -> str:
    return str(one["date"])


def _command(one: dict[str, Any]) -> str:
    return f"`{one['command']}`"


def _number(number: float | None, digits: int) -> str:
    return "" if number is None else f"{number:.{digits}f}"
