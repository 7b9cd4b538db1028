"""The paper's claims, checked on the records of one scale: holds, does not hold, or how many runs would show it.

    python -m benchmarks.paper.claims --scale pocket
    python -m benchmarks.paper.claims --scale pocket --power     # only the runs that the claims need

`examples.d3d.significance` decides, over all claims of the scale together; rows behind which there is one trained
network are compared by seed, all others as independent runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.paper.tables import flags

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=flags.SCALES, default="pocket", help="whose records are read")
    parser.add_argument("--results", type=Path, default=flags.RESULTS, help="folder of the records")
    parser.add_argument("--power", action="store_true", help="print how many runs the claims need, and write nothing")
    options = parser.parse_args()

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

from benchmarks import markdown
from benchmarks.paper.claim_list import CLAIMS, MARGIN, Claim
from benchmarks.paper.tables import scripts
from benchmarks.paper.tables.records import RecordFile, values
from benchmarks.paper.tables.scales import SCALES, Scale
from benchmarks.paper.tables.sharing import shared
from benchmarks.paper.tables.table import Record, Row, Table
from examples.d3d import significance
from examples.d3d.comparison import Comparison, compare
from examples.d3d.config import plain_errors
from examples.d3d.significance import Decision, Verdict


def compared(claim: Claim, measured: Record) -> list[Comparison] | None:
    """Compare the pairs of a claim; None where one of them was not run."""
    table: Table = scripts.load(claim.table).TABLE
    found = []
    for names in claim.pairs:
        first, second = (values(measured, name) for name in names)
        paired = shared(*(table.row(name) for name in names))
        if not first or not second or (paired and first.keys().isdisjoint(second)):
            return None
        found.append(compare(first, second, names=names, paired=paired))
    return found


def result(scale: Scale, folder: Path) -> dict[str, Any]:
    """Check all claims at one scale."""
    tables: Mapping[str, Table] = {claim.table: scripts.load(claim.table).TABLE for claim in CLAIMS}
    records = {name: RecordFile(table, scale, folder).read() for name, table in tables.items()}
    found = {claim: one for claim in CLAIMS if (one := compared(claim, records[claim.table]))}
    decided = significance.decide({claim: (one, claim.where) for claim, one in found.items()})
    data = {records[claim.table]["data"]: None for claim in CLAIMS}
    checked = [
        _checked(claim, tables[claim.table], records[claim.table], found.get(claim, []), decided.get(claim))
        for claim in CLAIMS
    ]
    return {"scale": scale.name, "data": [text for text in data if text], "margin": MARGIN, "claims": checked}


def _checked(
    claim: Claim, table: Table, measured: Record, found: list[Comparison], decision: Decision | None
) -> dict[str, Any]:
    """Return the verdict of one claim, and the numbers behind it."""
    digits = table.metric.digits
    links = [
        {
            "names": list(names),
            "measured": asdict(found[k]) if found else None,
            "words": found[k].words(digits=digits) if found else "not run",
            "paper": _published(table, *(table.row(name) for name in names)),
        }
        for k, names in enumerate(claim.pairs)
    ]
    unit = {"%": "points"}.get(table.metric.unit, table.metric.unit)
    wrong = next((_number(one.mean, digits) for one in found if not claim.where.contains(one.mean)), "")
    return {
        "claim": claim.text,
        "table": claim.table,
        "unit": unit,
        "digits": digits,
        "verdict": decision.verdict if decision else "not run",
        "p_value": decision.p_value if decision else None,
        "runs_needed": decision.runs if decision else None,
        "cost": _cost(claim, measured, found, decision.runs) if decision and decision.runs else None,
        "words": decision.words(f"{wrong} {unit}") if decision else "not run",
        "links": links,
    }


def _cost(claim: Claim, measured: Record, found: list[Comparison], runs: int) -> str | None:
    """Say what the missing runs of a claim's rows cost, each network once; None where its trainings were not timed."""
    seconds: dict[str, dict[str, float]] = {}
    entries = [entry for name in {name for pair in claim.pairs for name in pair} for entry in _entries(measured, name)]
    for seed, entry in entries:
        for training, about in (entry.get("trainings") or {}).items():
            if about["seconds"] is None:
                return None
            seconds.setdefault(seed, {})[training] = about["seconds"]
    missing = runs - min(min(one.runs) for one in found)
    if not seconds or missing <= 0:
        return None
    hours = missing * fmean(sum(one.values()) for one in seconds.values()) / 3600
    hardware = measured["environments"][entries[0][1]["environment"]]["hardware"]
    unit = "core-hours" if hardware.endswith("no GPU used") else "GPU-hours"
    return f"{missing:,} of them still to do, about {hours:,.1f} {unit}"


def _entries(measured: Record, row: str) -> list[tuple[str, dict[str, Any]]]:
    return [(key.split()[-1], entry) for key, entry in measured["rows"][row]["seeds"].items()]


def _published(table: Table, first: Row, second: Row) -> float | None:
    """The paper's own difference, in the first column that has both rows."""
    one, other = table.published(first), table.published(second)
    return next((one[head] - other[head] for head in one if head in other), None)


def render(found: dict[str, Any]) -> str:
    """Render the table of the claims; every number comes from `found`."""
    lines = [
        f"Scale {found['scale']}: {'; '.join(found['data'])}. The paper's claims are about Kinetics; this says whether "
        f'their shape is seen here. The margin of "nothing" and "about" is {found["margin"]:.0f} points (ours); p is '
        "Holm's over all claims that were run; the runs of each row that a claim needs are those that show it with "
        "probability 0.8, if the differences and deviations measured so far are right.",
        "",
    ]
    cells = []
    for one in found["claims"]:
        ours = "<br>".join(_difference(link, one) for link in one["links"])
        paper = "<br>".join(_number(link["paper"], one["digits"]) for link in one["links"])
        p_value = "" if one["p_value"] is None else f"{one['p_value']:.2g}"
        cells.append([one["claim"], f"**{_words(one)}**", p_value, ours, paper, one["table"]])
    difference = "difference ± standard error; 95 % interval of first − second"
    table = markdown.table(["claim", "here", "p", difference, "paper's difference", "from"], cells)
    return "\n".join([*lines, *table, ""])


def _words(one: dict[str, Any]) -> str:
    return str(one["words"]) + (f", {one['cost']}" if one["cost"] else "")


def _difference(link: dict[str, Any], claim: dict[str, Any]) -> str:
    measured = link["measured"]
    if measured is None or measured["low"] is None:
        return str(link["words"])
    low, high = (_number(measured[end], claim["digits"]) for end in ("low", "high"))
    return f"{link['words']}; {low} to {high} {claim['unit']}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:+z.{digits}f}"


def power(scale: str, folder: Path, tables: Collection[str] = ()) -> str:
    """Say how many runs the claims of some tables, or of all, need, with the runs so far as the pilot."""
    lines = []
    for one in result(SCALES[scale], folder)["claims"]:
        if not tables or one["table"] in tables:
            pilot = one["verdict"] in ("not run", Verdict.TOO_FEW_RUNS)
            said = f"needs a pilot of {significance.FEWEST} runs" if pilot else _words(one)
            lines.append(f"{one['table']}: {one['claim']}: {said}")
    return "\n".join(lines)


def write(scale: str, folder: Path) -> None:
    """Check all claims and write results/claims_<scale>.json and .md."""
    found = result(SCALES[scale], folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"claims_{scale}.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / f"claims_{scale}.md").write_text(render(found))


@plain_errors
def main(options: argparse.Namespace) -> None:
    """Check the claims of a scale and print the table, or the runs that they need."""
    if options.power:
        print(power(options.scale, options.results))
        return
    write(options.scale, options.results)
    print((options.results / f"claims_{options.scale}.md").read_text())


if __name__ == "__main__":
    main(options)
