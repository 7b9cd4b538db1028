"""Compare kdvideo's losses with those of other libraries on the same inputs, values and gradients.

torchdistill, ModelOpt, timm and TRL must be installed; RepDistiller, mdistiller and mmrazor, which are not on the
package index, must be checked out under their names in the folder `--sources`.

    python -m benchmarks.peers.parity --sources ../peers
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", type=Path, required=True, help="folder with the checkouts")
    options = parser.parse_args()

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks import markdown, record
from benchmarks.peers import (
    cards,
    classic_cases,
    classic_rows,
    mmrazor_rows,
    other_cases,
    other_rows,
    torchdistill_rows,
)
from benchmarks.peers.case import shown
from benchmarks.peers.row import TOLERANCE, Rows, measure
from benchmarks.peers.sources import PACKAGES, Sources

NAME = "peers_parity"
COMMAND = "python -m benchmarks.peers.parity --sources ../peers"
PEERS: dict[str, Rows] = {
    "torchdistill": torchdistill_rows.rows,
    "ModelOpt": other_rows.modelopt,
    "RepDistiller": classic_rows.rep_distiller,
    "mdistiller": classic_rows.mdistiller,
    "mmrazor": mmrazor_rows.rows,
    "timm": other_rows.timm,
    "TRL": other_rows.trl,
}


def result(sources: Sources) -> dict[str, Any]:
    """Measure all rows and cases of all peers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [{"peer": peer, **measure(row)} for peer, of in PEERS.items() for row in of(sources)]
        found = [
            {
                "peer": case.peer,
                "name": case.name,
                "given": case.given,
                "equation": case.equation,
                "theirs": shown(case.theirs),
                "ours": shown(case.ours),
                "expected": shown(case.expected) if case.expected else "",
            }
            for case in [*other_cases.cases(sources), *classic_cases.cases(sources)]
        ]
    return {
        "benchmark": NAME,
        "versions_of_peers": {peer: sources.version(peer) for peer in PEERS},
        "tolerance": TOLERANCE,
        "rows": rows,
        "cases": found,
        **record.environment(COMMAND, torch.get_num_threads()),
    }


def render(found: Mapping[str, Any]) -> str:
    """Render the record: versions, one table of rows, one of cases."""
    rows = [
        (
            f"`{row['method']}`",
            row["peer"],
            f"`{row['name']}`",
            row["conversion"],
            *(f"{max(row[dtype].values()):.0e}" for dtype in ("float64", "float32")),
            row["verdict"] + (f": {row['why']}" if row["why"] else ""),
        )
        for row in sorted(found["rows"], key=lambda row: row["method"].lower())
    ]
    wrong = [
        (case["peer"], case["name"], case["given"], case["equation"], case["expected"], case["theirs"], case["ours"])
        for case in found["cases"]
    ]
    equal = sum(row["verdict"] == "equal" for row in found["rows"])
    lines = [
        f"{_versions(found)}. {equal} of {len(rows)} rows are equal within {found['tolerance']:.0e}: the largest "
        "difference of value and gradient, relative to the largest of ours, on random inputs.",
        "",
        *markdown.table(["ours", "peer", "theirs", "theirs becomes ours", "float64", "float32", "verdict"], rows),
        "",
        "Where they differ, an input to compute by hand:",
        "",
        *markdown.table(["peer", "of", "input", "equation", "its value", "theirs", "ours"], wrong),
        "",
        markdown.where(found),
    ]
    return "\n".join([*lines, ""])


def _versions(found: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{peer} {'' if peer in PACKAGES else 'commit '}{version}"
        for peer, version in found["versions_of_peers"].items()
    )


def main(sources: Path) -> None:
    """Measure, print, record, and update the line "Parity" of the methods' cards."""
    found = result(Sources(sources))
    record.write(NAME, found, render)
    cards.write(found)


if __name__ == "__main__":
    main(options.sources)
