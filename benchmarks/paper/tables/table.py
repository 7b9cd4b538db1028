"""A table of the paper as data: its protocol, its rows, and how one row is measured."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.paper.lab import Lab
from benchmarks.paper.tables import paper_numbers
from benchmarks.paper.training_log import Trainings

Record = dict[str, Any]
Which = Mapping[str, str | None]


@dataclass(frozen=True)
class Metric:
    """What is measured, its unit, and the decimals with which our values and the paper's are printed."""

    name: str
    unit: str
    digits: int
    published_digits: int


TOP1 = Metric("top-1", "%", 1, 1)
EPE = Metric("endpoint error", "pixels", 3, 2)


class Measured(NamedTuple):
    """One row at one seed: the value in the metric's unit, its steps, the accuracy of every class, its trainings."""

    value: float
    steps: int
    per_class: Mapping[str, float] | None = None
    trainings: Trainings | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        name: unique in its table.
        of: what `measure` needs: the methods whose scores are averaged, or the features to read; empty for methods
            of others, which the paper quotes and we do not run.
        paper: the fields by which its row in paper.json is found; None for rows that the paper does not have.
        claim: whether a claim of the paper rests on it; other rows are measured at fewer seeds.
    """

    name: str
    of: tuple[Any, ...] = ()
    paper: Which | None = None
    claim: bool = False


Measure = Callable[[Row, Lab, int], Measured]
Picture = Callable[[Record, Lab, int, Path], None]


@dataclass(frozen=True)
class Table:
    """A table or figure: what its script holds.

    Args:
        name: "table6", the key in paper.json and the first part of the script's name.
        protocol: what is trained and measured, for the reader.
        metric: of all rows.
        rows: in the table's order.
        measure: (row, lab, seed) -> Measured.
        paper_columns: heading -> field of paper.json's rows; each says on which data the paper measured.
        part: which data of a scale are used; "kinetics600" for tables that the paper measured there.
        body: renders the record itself, where the plain table of rows does not do.
        picture: draws a picture once the rows of the first seed are measured.
        settings: what decides a value besides the settings of the scale.
        plan: what to say of the published protocol, where it is not a training on --train for each method.
        needs_flow: whether the flow of the clips is prepared before a row is measured.
    """

    name: str
    protocol: str
    metric: Metric
    rows: tuple[Row, ...]
    measure: Measure
    paper_columns: Mapping[str, str] = field(default_factory=dict)
    part: str = "kinetics400"
    body: Callable[[Table, Record], list[str]] | None = None
    picture: Picture | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    plan: Callable[[argparse.Namespace], str] | None = None
    needs_flow: bool = True

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if len(set(names)) != len(names):
            raise ValueError(f"the rows of {self.name} must have names of their own, got {names}")

    def published(self, row: Row) -> dict[str, float]:
        """Return heading -> the paper's number of a row, where there is one."""
        if row.paper is None:
            return {}
        known = paper_numbers.row(self.name, row.paper)
        return {heading: known[key] for heading, key in self.paper_columns.items() if key in known}

    def row(self, name: str) -> Row:
        """Return the row of a name."""
        return next(row for row in self.rows if row.name == name)
