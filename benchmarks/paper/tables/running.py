"""Measuring tables row by row and seed by seed; what a record holds already is not measured again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import torch

from benchmarks import record
from benchmarks.paper.tables import rendering
from benchmarks.paper.tables.flags import RESULTS, parser
from benchmarks.paper.tables.preparing import prepare_flow
from benchmarks.paper.tables.records import RecordFile
from benchmarks.paper.tables.scales import FEW, SCALES, Draw, Scale
from benchmarks.paper.tables.table import Record, Row, Table
from examples.d3d.config import plain_errors
from examples.d3d.training import make_accelerator
from kdvideo.data import ClipError

PICTURES = Path("docs/img")
VARYING = ("load_average",)  # from moment to moment: one environment stands for many values
Made = Callable[[Scale, argparse.Namespace], Table]


@plain_errors
def main(table: Table | Made, about: str | None, arguments: Sequence[str] | None = None) -> None:
    """Run the command of one table's script."""
    options = parser(about).parse_args(arguments)
    made = table if isinstance(table, Table) else table(SCALES[options.scale], options)
    if failures := run([made], options):
        raise SystemExit("error: " + "; ".join(failures))


def run(tables: Sequence[Table], options: argparse.Namespace, *, pictures: bool = True) -> list[str]:
    """Measure what is missing in some tables, write their records and pictures; return what failed."""
    scale = SCALES[options.scale]
    if not options.render and (said := scale.plan(tables, options)):
        print(said)
        return []
    for table in tables:
        if table.part not in scale.data:
            print(f"{table.name} has no clips at scale {scale.name}: not run")
    tables = [table for table in tables if table.part in scale.data]
    if options.render or not tables:
        for table in tables:
            _render(RecordFile(table, scale, options.results))
        return []
    torch.set_num_threads(options.threads)
    environment(options.threads)
    accelerator = make_accelerator(scale.config)
    parts = dict.fromkeys(table.part for table in tables)
    draws = {part: scale.draws(part, options.seeds or scale.seeds, options, accelerator) for part in parts}
    failures = [failure for table in tables for failure in _measure(table, scale, options, draws[table.part])]
    for table in tables if pictures else ():
        finish(table, scale, options, draws[table.part])
    return failures


def plan(table: Table, draws: Sequence[Draw], *, every: bool) -> Iterator[tuple[Row, list[Draw]]]:
    """Yield the draws at which each row is measured."""
    for row in table.rows:
        if row.of:
            yield row, [draw for draw in draws if every or row.claim or draw.seed in FEW]


def _measure(table: Table, scale: Scale, options: argparse.Namespace, draws: Sequence[Draw]) -> Iterator[str]:
    """Measure row by row and seed by seed; yield what failed, and continue where that is possible."""
    file, accelerator = RecordFile(table, scale, options.results), draws[0].lab.accelerator
    file.check(draws[0].lab)
    for row, wanted in plan(table, draws, every=options.every):
        for draw in file.missing(wanted, row.name):
            name = f"{table.name}, {row.name}, seed {draw.key}"
            try:
                if table.needs_flow:
                    prepare_flow(draw.lab)
                measured = table.measure(row, draw.lab, draw.seed)
            except (ValueError, RuntimeError, ArithmeticError, ClipError) as error:
                if accelerator.num_processes > 1:  # the others would wait for ever
                    raise
                yield f"{name}: {error}"
                continue
            if accelerator.is_main_process:
                file.add(row.name, draw, measured, environment(options.threads))
                _render(file)
            accelerator.print(f"{name}: {measured.value:.{table.metric.digits}f} {table.metric.unit}", flush=True)
            accelerator.wait_for_everyone()


@cache  # files may change while the code of the first call goes on
def environment(threads: int) -> Record:
    """Describe hardware, versions, commit, command and date of this process."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    given = [Path(one).name if Path(one).is_absolute() else one for one in sys.argv[1:]]  # nothing of this machine
    command = " ".join(["python", "-m", spec.name if spec else "benchmarks.paper.run_all", *given])
    command = command.split(" --worker ")[0]  # what the user called
    known = record.environment(command, threads)
    return {name: value for name, value in known.items() if name not in VARYING}


def finish(table: Table, scale: Scale, options: argparse.Namespace, draws: Sequence[Draw]) -> None:
    """Draw the picture of a figure whose rows have their first value, and write the table."""
    file, lab = RecordFile(table, scale, options.results), draws[0].lab
    complete = all(not file.missing(draws[:1], row.name) for row in table.rows if row.of)
    if table.picture and complete:
        folder = PICTURES if options.results == RESULTS else options.results
        name = f"{file.path.stem}.png"
        table.picture(file.read(), lab, draws[0].seed, folder / name)
        if lab.accelerator.is_main_process:
            file.note("picture", name)
    if lab.accelerator.is_main_process:
        _render(file)


def _render(file: RecordFile) -> None:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.markdown.write_text(rendering.document(file.table, file.read()))
