"""Table 4: pretrained networks fine-tuned on UCF-101 and HMDB-51, split 1, with the action loss alone.

    python -m benchmarks.paper.table4_transfer --scale pocket
    python -m benchmarks.paper.table4_transfer --scale pocket --ucf101 /data/ucf101 --hmdb51 /data/hmdb51
    python -m benchmarks.paper.table4_transfer --scale paper --ucf101 /data/ucf101 --d3d-kinetics400 D3D --execute

Without the real data sets the transfer is from one synthetic data set to another, with few clips of other motions,
and to UT-Interaction. The networks are pretrained on the two data sets of Tables 2 and 3 unless their weights are
given. Clips are measured in one pass over the center crop of up to 250 frames.
"""

from __future__ import annotations

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

import argparse
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import markdown
from benchmarks.paper import accuracies, fine_tuning, official_splits, trained_networks, ut_interaction
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import D3D, RGB, Method
from benchmarks.paper.tables import cluster_plan, rendering, running
from benchmarks.paper.tables.preparing import prepare_flow
from benchmarks.paper.tables.records import values
from benchmarks.paper.tables.scales import Scale
from benchmarks.paper.tables.table import TOP1, Measured, Record, Row, Table
from benchmarks.paper.trained_networks import Trained
from examples.d3d.config import Config

SYNTHETIC, UT, UCF, HMDB = "synthetic videos", "UT-Interaction", "UCF-101", "HMDB-51"


@dataclass(frozen=True)
class Pretraining:
    """Where a network comes from: the flag that gives its weights, or the method and the part of a scale's data."""

    method: Method
    part: str
    flag: str


S3DG_400 = Pretraining(RGB, "kinetics400", "s3dg")
D3D_400 = Pretraining(D3D, "kinetics400", "d3d_kinetics400")
D3D_600 = Pretraining(D3D, "kinetics600", "d3d_kinetics600")
FLAGS = tuple(one.flag for one in (S3DG_400, D3D_400, D3D_600))
OURS: Mapping[str, tuple[Pretraining | None, ...]] = {
    "S3D-G without pretraining": (None,),
    "S3D-G": (S3DG_400,),
    "D3D (Kinetics-400 pretrain)": (D3D_400,),
    "D3D (Kinetics-600 pretrain)": (D3D_600,),
    "D3D Ensemble": (D3D_400, D3D_600),
}
OTHERS = (
    *("P3D", "C3D", "Res3D", "ARTNet", "I3D", "R(2+1)D", "I3D Two-Stream", "ActionFlowNet", "MFNet", "Rep. Flow"),
    *("MV-CNN", "TVNet+IDT", "Hidden Two-Stream"),
)


def available(scale: Scale, options: argparse.Namespace) -> tuple[str, ...]:
    """Return the data sets on which networks can be fine-tuned."""
    there = {
        SYNTHETIC: not scale.published,
        UT: not scale.published and Path(options.clips).is_dir(),
        UCF: options.ucf101 is not None,
        HMDB: options.hmdb51 is not None,
    }
    return tuple(name for name, here in there.items() if here)


def target(name: str, config: Config, scale: Scale, options: argparse.Namespace) -> Config:
    """Return the settings of fine-tuning on one data set, of which `config` has the synthetic one."""
    config = dataclasses.replace(config, optimizer=fine_tuning.schedule(config.optimizer))
    config = scale.on_gpus(config, options)
    if name in (UCF, HMDB):
        return official_splits.official(config, name, options.ucf101 if name == UCF else options.hmdb51)
    if name == UT:
        fold = ut_interaction.REPORTED[0]
        train, test = ut_interaction.fold_files(options.clips, config.work_dir / "ut_interaction", fold)
        return dataclasses.replace(config, train=train, test=test, root=options.clips)
    return config


def pretrained(one: Pretraining, lab: Lab, seed: int, scale: Scale, options: argparse.Namespace) -> Trained:
    """Return the network with which fine-tuning starts: that of a given file, or trained here."""
    if given := getattr(options, one.flag):
        return trained_networks.given(given)
    source = scale.pretraining(one.part, lab, options)
    if source is None:
        flag = one.flag.replace("_", "-")
        raise ValueError(
            f"give the weights of {one.method.name} ({one.part}) as --{flag} FILE; --train and --test, the clips "
            "of Kinetics-600, pretrain the other network"
        )
    prepare_flow(source)
    return source.train(one.method, seed)


def measure(scale: Scale, options: argparse.Namespace, row: Row, lab: Lab, seed: int) -> Measured:
    """Compute the accuracy of the mean of the fine-tuned networks' scores."""
    name, *starts = row.of
    tuned = Lab(target(name, lab.config, scale, options), lab.accelerator)
    trained = []
    for one in starts:
        start = pretrained(one, lab, seed, scale, options) if one else None
        trained.append(tuned.train(RGB, seed, start=start))
    return accuracies.of_scores([fine_tuning.scores(one, tuned) for one in trained], tuned, trained)


def row_name(method: str, data: str) -> str:
    """Return the name of one of our rows in the record."""
    return f"{method}, {data}"


def table(scale: Scale, options: argparse.Namespace) -> Table:
    """Return the table, with a row for each method and data set.

    Raises:
        ValueError: a folder that is given is not that of the data set, or none is given where nothing else can be used.
    """
    here = available(scale, options)
    if scale.published and options.execute and not here:
        raise ValueError(
            "Table 4 fine-tunes on UCF-101 and HMDB-51: give --ucf101 or --hmdb51, or leave it out by --only"
        )
    for name in () if options.render else {UCF, HMDB} & set(here):  # before anything is trained
        target(name, dataclasses.replace(scale.config, work_dir=options.work_dir), scale, options)
    rows = [
        Row(
            row_name(method, name),
            (name, *starts) if name in here else (),
            None if starts == (None,) else {"method": method},
            claim=starts != (None,),
        )
        for name in (SYNTHETIC, UT, UCF, HMDB)
        for method, starts in OURS.items()
    ]
    return Table(
        name="table4",
        protocol=(
            "Pretrained networks, with a fresh classifier, learn the new classes with the action loss alone, all "
            "layers, no distillation; the paper: 10k steps of 60 clips; ours, but for --scale paper: a quarter of the "
            "steps of the pretraining. One pass over the center crop of up to 250 frames of a test clip. The ensemble "
            "averages the softmax scores of both fine-tuned D3D."
        ),
        metric=TOP1,
        rows=(*(Row(name, (), {"method": name}) for name in OTHERS), *rows),
        measure=partial(measure, scale, options),
        paper_columns={UCF: "ucf101", HMDB: "hmdb51"},
        part="transfer",
        body=body,
        plan=partial(plan, scale),
        settings={"given": {flag: path and _file_hash(path) for flag in FLAGS for path in [getattr(options, flag)]}},
        needs_flow=False,
    )


def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def body(table: Table, record: Record) -> list[str]:
    """Render one line a method: ours on each data set, and the paper's numbers."""
    sets = (SYNTHETIC, UT, UCF, HMDB)
    heads = [*(f"ours: {name}" for name in sets), *(f"paper: {name}, split 1" for name in table.paper_columns)]
    cells = [_cells(name, ["", "", "", ""], table.published(table.row(name)), table) for name in OTHERS]
    for method in OURS:
        rows = [table.row(row_name(method, name)) for name in sets]
        cells.append(_cells(method, [_value(table, record, row) for row in rows], table.published(rows[0]), table))
    note = "Methods without a value of ours are the paper's quotations; we do not run them."
    return [*markdown.table(["", *heads], cells), "", note]


def _cells(name: str, ours: Sequence[str], published: Mapping[str, float], table: Table) -> list[str]:
    return [name, *ours, *(f"{published[head]:.1f}" if head in published else "" for head in table.paper_columns)]


def _value(table: Table, record: Record, row: Row) -> str:
    count = len(values(record, row.name))
    if count == 0:
        return rendering.NOT_RUN
    return rendering.value(table, record, row) + (f" ({count} seeds)" if count > 1 else "")


def plan(scale: Scale, options: argparse.Namespace) -> str:
    """Say what the published protocol takes."""
    tune, here = fine_tuning.schedule(scale.config.optimizer), available(scale, options)
    places = {"ucf101": "UCF101", "hmdb51": "HMDB51", "work_dir": "runs"}
    places |= {flag: f"{flag.upper()}.safetensors" for flag in FLAGS}
    flags = ["--scale", "paper", "--gpus", str(options.gpus)]
    for flag, stand_in in places.items():
        flags += [f"--{flag.replace('_', '-')}", str(getattr(options, flag) or stand_in)]
    return (
        f"4 fine-tunings of {tune.steps} steps of {tune.batch_size} clips on each of UCF-101 and HMDB-51 (given: "
        f"{', '.join(here) or 'none'}), of networks that Tables 2 and 3 train\n"
        f"  GPU-hours: {cluster_plan.cost(8 * tune.steps * tune.batch_size)}\n"
        f"  {cluster_plan.launch(options.gpus, 'benchmarks.paper.table4_transfer', [*flags, '--execute'])}"
    )


if __name__ == "__main__":
    running.main(table, __doc__)
