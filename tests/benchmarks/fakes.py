"""A table whose rows are measured at once, and what a record needs besides."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.paper.lab import Lab
from benchmarks.paper.tables import flags, running
from benchmarks.paper.tables.table import TOP1, Measured, Row, Table

VALUES = {"S3D-G spatial stream": 70.0, "D3D": 80.0, "MARS": 75.0}
ENVIRONMENT = {
    "command": "python -m benchmarks.x",
    "threads": 1,
    "hardware": "a processor",
    "versions": {"torch": "2.13"},
    "commit": "0123456789abcdef",
    "uncommitted_changes": False,
    "date": "2026-01-02",
}


class Counting:
    """Measures a row as its known value plus the seed, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.broken: set[tuple[str, int]] = set()

    def __call__(self, row: Row, lab: Lab, seed: int) -> Measured:
        self.asked.append((row.name, seed))
        if (row.name, seed) in self.broken:
            raise FloatingPointError("loss nan at step 3")
        return Measured(VALUES[row.name] + seed, lab.config.optimizer.steps, {"spin": 50.0, "orbit": 90.0})


def table(measure: Any, **changes: Any) -> Table:
    """Three rows of Table 6, one without a claim and unknown to the paper, and one that nobody runs."""
    settings: dict[str, Any] = {
        "name": "table6",
        "protocol": "How it is done.",
        "metric": TOP1,
        "rows": (
            Row("S3D-G spatial stream", ("rgb",), {"method": "S3D-G spatial stream"}, claim=True),
            Row("D3D", ("d3d",), {"method": "D3D"}, claim=True),
            Row("MARS", ("mars",)),
            Row("quoted", (), {"method": "S3D-G with flow loss"}),
        ),
        "measure": measure,
        "paper_columns": {"Kinetics-400, reduced": "reduced"},
    }
    return Table(**settings | changes)


def options(folder: Path, *more: str) -> argparse.Namespace:
    """A command line whose records and clips lie in a folder."""
    places = ["--results", str(folder / "results"), "--work-dir", str(folder / "runs")]
    return flags.parser(None).parse_args([*places, *more])


def without_machine(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, Any] = ENVIRONMENT) -> None:
    """Records say the given environment, and no clip is read."""
    monkeypatch.setattr(running, "prepare_flow", lambda lab: None)
    monkeypatch.setattr(running, "environment", lambda threads: dict(environment))
