"""The paper's claims, checked on the records of one scale: holds, does not hold, or cannot tell.

    python -m benchmarks.paper.claims --scale pocket

`paper.tables.statistics` decides: differences are paired by seed, and their 95 % interval must lie wholly where
the claim puts it. "About equal" and "gains nothing" take a margin, 2 points of accuracy, that we chose before these
tables were measured; the paper's own differences behind such claims are at most 0.3. Claims are not corrected for
their number.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import markdown, record
from benchmarks.paper import figure3_layers
from benchmarks.paper.tables import scripts
from benchmarks.paper.tables.records import RecordFile, values
from benchmarks.paper.tables.scales import SCALES, Scale
from benchmarks.paper.tables.table import Record, Row, Table
from examples.d3d import comparison as statistics
from examples.d3d.comparison import Comparison, Verdict
from examples.d3d.config import plain_errors

MARGIN = 2.0
Rule = Callable[[Comparison], Verdict]


@dataclass(frozen=True)
class Claim:
    """What the paper says of the rows of one table: each pair (first, second) must obey the rule.

    Args:
        text: the claim.
        table: name of the table.
        pairs: names of rows.
        rule: of `statistics`, on first - second.
    """

    text: str
    table: str
    pairs: tuple[tuple[str, str], ...]
    rule: Rule = statistics.greater


def _gains_nothing(comparison: Comparison) -> Verdict:
    return statistics.at_most(comparison, margin=MARGIN)


def _about_equal(comparison: Comparison) -> Verdict:
    return statistics.about_equal(comparison, margin=MARGIN)


SPATIAL, SPATIAL_TAUGHT = "S3D-G spatial stream", "D3D distilled from spatial stream"
ERRORS = ("All zeros", "S3D-G, RGB", "D3D, RGB", "S3D-G, RGB, fine-tuned", "S3D-G, Flow")
CLAIMS = (
    Claim("D3D is better than S3D-G on RGB", "table2", (("D3D, RGB", "S3D-G, RGB"),)),
    Claim("D3D is about as good as two streams", "table2", (("D3D, RGB", "S3D-G, RGB+Flow"),), _about_equal),
    Claim("D3D+S3D-G (RGB) is better than D3D", "table2", (("D3D+S3D-G, RGB", "D3D, RGB"),)),
    Claim("the same on the second data set", "table8", (("D3D+S3D-G, RGB+RGB", "D3D, RGB"),)),
    Claim("D3D is better than S3D-G on the second data set", "table8", (("D3D, RGB", "S3D-G, RGB"),)),
    Claim("adding flow to D3D gains nothing", "table8", (("D3D+S3D-G, RGB+Flow", "D3D, RGB"),), _gains_nothing),
    Claim(
        "distilling from the spatial stream gains almost nothing",
        "table6",
        ((SPATIAL_TAUGHT, SPATIAL),),
        _gains_nothing,
    ),
    Claim("D3D is better than distilled from the spatial stream", "table6", (("D3D", SPATIAL_TAUGHT),)),
    Claim(
        "distilling at the logits is better than at 2C and at 4C",
        "table6",
        (("D3D", "D3D distilled at layer 2C"), ("D3D", "D3D distilled at layer 4C")),
    ),
    Claim("a flow loss gains almost nothing", "table6", (("S3D-G with flow loss", SPATIAL),), _gains_nothing),
    Claim(
        "distillation helps every backbone",
        "table7",
        tuple((f"D3D ({backbone})", backbone) for backbone in ("I3D", "S3D-G", "NL S3D-G")),
    ),
    Claim("D3D's features detect actions better than S3D-G's", "table5", (("D3D", "S3D-G"),)),
    Claim("flow is read with errors zeros > S3D-G > D3D > fine-tuned > Flow", "table1", tuple(pairwise(ERRORS))),
    Claim(
        "at every layer flow is read better from D3D than from S3D-G",
        "figure3",
        tuple(
            (figure3_layers.name("S3D-G", layer), figure3_layers.name("D3D", layer)) for layer in figure3_layers.LAYERS
        ),
    ),
)


def check(claim: Claim, measured: Record) -> dict[str, Any]:
    """Return the verdict of one claim, and the numbers behind it."""
    table: Table = scripts.load(claim.table).TABLE
    comparisons, links = [], []
    for names in claim.pairs:
        first, second = (values(measured, name) for name in names)
        comparison = statistics.compare(first, second, names=names) if first.keys() & second.keys() else None
        comparisons.append(claim.rule(comparison) if comparison else Verdict.CANNOT_TELL)
        links.append(
            {
                "names": list(names),
                "measured": asdict(comparison) if comparison else None,
                "words": comparison.words(digits=table.metric.digits) if comparison else "not run",
                "verdict": comparisons[-1],
                "paper": _published(table, *(table.row(name) for name in names)),
            }
        )
    unit = {"%": "points"}.get(table.metric.unit, table.metric.unit)
    about = {"claim": claim.text, "table": claim.table, "unit": unit, "digits": table.metric.digits}
    return about | {"verdict": _all(comparisons), "links": links}


def _all(verdicts: Sequence[Verdict]) -> Verdict:
    """One that does not hold refutes them all; all must hold."""
    if Verdict.DOES_NOT_HOLD in verdicts:
        return Verdict.DOES_NOT_HOLD
    return Verdict.CANNOT_TELL if Verdict.CANNOT_TELL in verdicts else Verdict.HOLDS


def _published(table: Table, first: Row, second: Row) -> float | None:
    """The paper's own difference, in the first column that has both rows."""
    one, other = table.published(first), table.published(second)
    return next((one[head] - other[head] for head in one if head in other), None)


def result(scale: Scale, folder: Path) -> dict[str, Any]:
    """Check all claims at one scale."""
    tables: Mapping[str, Table] = {claim.table: scripts.load(claim.table).TABLE for claim in CLAIMS}
    records = {name: RecordFile(table, scale, folder).read() for name, table in tables.items()}
    data = {records[claim.table]["data"]: None for claim in CLAIMS}
    checked = [check(claim, records[claim.table]) for claim in CLAIMS]
    return {"scale": scale.name, "data": [text for text in data if text], "margin": MARGIN, "claims": checked}


def render(found: dict[str, Any]) -> str:
    """Render the table of the claims; every number comes from `found`."""
    lines = [
        f"Scale {found['scale']}: {'; '.join(found['data'])}. The paper's claims are about Kinetics; this says whether "
        f"their shape is seen here. Differences are paired by seed; a claim holds where their 95 % interval lies "
        f'wholly where it puts them, with a margin of {found["margin"]:.0f} points for "nothing" and "about" (ours).',
        "",
    ]
    cells = []
    for one in found["claims"]:
        ours = "<br>".join(_difference(link, one) for link in one["links"])
        paper = "<br>".join(_number(link["paper"], one["digits"]) for link in one["links"])
        cells.append([one["claim"], f"**{one['verdict']}**", ours, paper, one["table"]])
    difference = "difference ± standard error; 95 % interval of first − second"
    table = markdown.table(["claim", "here", difference, "paper's difference", "from"], cells)
    return "\n".join([*lines, *table, ""])


def _difference(link: dict[str, Any], claim: dict[str, Any]) -> str:
    measured = link["measured"]
    if measured is None or measured["low"] is None:
        return str(link["words"])
    low, high = (_number(measured[end], claim["digits"]) for end in ("low", "high"))
    return f"{link['words']}; {low} to {high} {claim['unit']}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:+z.{digits}f}"


def write(scale: str, folder: Path) -> None:
    """Check all claims and write results/claims_<scale>.json and .md."""
    found = result(SCALES[scale], folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"claims_{scale}.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / f"claims_{scale}.md").write_text(render(found))


@plain_errors
def main() -> None:
    """Check the claims of a scale and print the table."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--scale", choices=SCALES, default="pocket")
    flags.add_argument("--results", type=Path, default=record.FOLDER)
    options = flags.parse_args()
    write(options.scale, options.results)
    print((options.results / f"claims_{options.scale}.md").read_text())


if __name__ == "__main__":
    main()
