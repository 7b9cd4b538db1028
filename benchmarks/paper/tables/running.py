"""Measuring tables row by row and seed by seed; what a record holds already is not measured again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import torch

from benchmarks import record
from benchmarks.paper.tables import cluster_plan, flow_flags, rendering
from benchmarks.paper.tables.preparing import prepare_flow
from benchmarks.paper.tables.records import RecordFile
from benchmarks.paper.tables.scales import FEW, SCALES, Draw, Scale
from benchmarks.paper.tables.table import Record, Row, Table
from examples.d3d.config import plain_errors
from examples.d3d.training import make_accelerator
from kdvideo.data import ClipError

RESULTS = record.FOLDER
PICTURES = Path("docs/img")
VARYING = ("load_average",)  # from moment to moment: one environment stands for many values
Made = Callable[[Scale, argparse.Namespace], Table]


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return the flags that all scripts of tables and figures have."""
    flags = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--scale", choices=SCALES, default="pocket")
    flags.add_argument("--seeds", type=int, nargs="+", help="default: as many as the scale has")
    flags.add_argument("--every", action="store_true", help="all rows at all seeds, also those without a claim")
    flags.add_argument(
        "--threads", type=positive, default=1, help="of the processor; accuracies depend on their number"
    )
    flags.add_argument("--work-dir", type=Path, default=Path("runs"), help="clips, flow and trained networks")
    flags.add_argument("--results", type=Path, default=RESULTS, help="folder of the records and their tables")
    flags.add_argument("--render", action="store_true", help="measure nothing, write the tables of the records anew")
    flags.add_argument("--clips", type=Path, default=Path("../shared/data/ut_interaction"), help="of UT-Interaction")
    cluster_plan.add_flags(flags)
    flow_flags.add_flags(flags)
    own = flags.add_argument_group("Table 4")
    own.add_argument("--ucf101", type=Path, help="folder of UCF-101, as its archives unpack")
    own.add_argument("--hmdb51", type=Path, help="folder of HMDB-51, as its archives unpack")
    for network in ("s3dg", "d3d-kinetics400", "d3d-kinetics600"):
        own.add_argument(f"--{network}", type=Path, help="trained weights that take the place of our pretraining")
    return flags


def positive(text: str) -> int:
    """Read a whole number above 0, as a flag's type."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be above 0, got {number}")
    return number


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
