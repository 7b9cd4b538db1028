"""Table 4: pretrained networks fine-tuned on UCF-101 and HMDB-51, split 1, with the action loss alone.

    python -m benchmarks.table4_transfer --scale pocket
    python -m benchmarks.table4_transfer --scale pocket --ucf101 /data/ucf101 --hmdb51 /data/hmdb51
    python -m benchmarks.table4_transfer --scale paper --ucf101 /data/ucf101 --d3d-kinetics400 k400.safetensors --run

Without the real data sets the transfer is from one synthetic data set to another, with few clips of other motions,
and to UT-Interaction. The networks are pretrained on the two data sets of Tables 2 and 3 unless their weights are
given. Clips are measured in one pass over the centre crop of up to 250 frames.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from benchmarks import ut_interaction
from benchmarks.tables import accuracies, markdown, running
from benchmarks.tables.records import RecordFile, values
from benchmarks.tables.scales import SCALES, Draw, Scale, Videos
from benchmarks.tables.table import TOP1, Measured, Record, Row, Table
from examples.d3d.config import Config, plain_errors
from examples.d3d.methods import D3D, RGB, Method
from examples.d3d.students import train_method
from examples.d3d.train import make_accelerator
from examples.transfer import targets, tuning

SYNTHETIC, UT, UCF, HMDB = "synthetic videos", "UT-Interaction", "UCF-101", "HMDB-51"
MOTIONS = ("diagonal", "horizontal", "rock", "spin")  # two pairs that look alike
FEW = {"train": 6, "test": 40}


@dataclass(frozen=True)
class Pretraining:
    """Where a network comes from: the flag that gives its weights, or the method and the part of a scale's data."""

    method: Method
    part: str
    flag: str


S3DG_400 = Pretraining(RGB, "kinetics400", "s3dg")
D3D_400 = Pretraining(D3D, "kinetics400", "d3d_kinetics400")
D3D_600 = Pretraining(D3D, "kinetics600", "d3d_kinetics600")
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


def add_flags(flags: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The flags that this table alone has."""
    flags.add_argument("--ucf101", type=Path, help="folder of UCF-101, as its archives unpack")
    flags.add_argument("--hmdb51", type=Path, help="folder of HMDB-51, as its archives unpack")
    for one in (S3DG_400, D3D_400, D3D_600):
        name, help_ = one.flag.replace("_", "-"), f"trained weights of {one.method.name} ({one.part}), instead of ours"
        flags.add_argument(f"--{name}", type=Path, help=help_)
    return flags


def available(options: argparse.Namespace) -> tuple[str, ...]:
    """The data sets on which networks can be fine-tuned."""
    there = {
        SYNTHETIC: options.scale != "paper",
        UT: options.scale != "paper" and Path(options.clips).is_dir(),
        UCF: options.ucf101 is not None,
        HMDB: options.hmdb51 is not None,
    }
    return tuple(name for name, here in there.items() if here)


def target(name: str, config: Config, scale: Scale, options: argparse.Namespace) -> Config:
    """The settings of fine-tuning on one data set."""
    config = dataclasses.replace(config, optimizer=tuning.schedule(config.optimizer))
    if name in (UCF, HMDB):
        return targets.official(config, name, options.ucf101 if name == UCF else options.hmdb51)
    if name == UT:
        train, test = ut_interaction.fold_files(options.clips, config.work_dir / "ut_interaction", 0)
        return dataclasses.replace(config, train=train, test=test, root=options.clips)
    settings = scale.data["kinetics600"].settings
    assert settings is not None
    few = {**settings, "classes": list(MOTIONS), "clips_per_class": FEW, "seed": settings["seed"] + 1}
    return Videos(name, few).chosen(config)


def pretrained(one: Pretraining, config: Config, seed: int, scale: Scale, options: argparse.Namespace) -> Any:
    """The weights with which fine-tuning starts."""
    if given := getattr(options, one.flag):
        return given
    if scale.name == "paper":
        if one.part != "kinetics600" or config.train is None:
            flag = one.flag.replace("_", "-")
            raise ValueError(
                f"give the weights of {one.method.name} ({one.part}) as --{flag} FILE; --train and --test, the clips "
                "of Kinetics-600, pretrain the other network"
            )
    else:
        config = scale.data[one.part].chosen(dataclasses.replace(config, train=None, test=None, root=None))
    return train_method(config, one.method, seed, make_accelerator(config))


def measure(
    scale: Scale, options: argparse.Namespace, row: Row, config: Config, seed: int, accelerator: Accelerator
) -> Measured:
    """Accuracy of the mean of the fine-tuned networks' scores."""
    name, *starts = row.of
    tuned = target(name, config, scale, options)
    members = []
    for one in starts:
        start = pretrained(one, config, seed, scale, options) if one else None
        weights = tuning.fine_tuned(tuned, start, seed, accelerator)
        members.append(tuning.scores(weights, tuned, accelerator))
    return accuracies.measured(members, tuned)


def row_name(method: str, data: str) -> str:
    """The name of one of our rows in the record."""
    return f"{method}, {data}"


def table(scale: Scale, options: argparse.Namespace) -> Table:
    """The table; a row for each method and data set."""
    here = available(options)
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
            "steps of the pretraining. One pass over the centre crop of up to 250 frames of a test clip. The ensemble "
            "averages the softmax scores of both fine-tuned D3D."
        ),
        metric=TOP1,
        rows=(*(Row(name, (), {"method": name}) for name in OTHERS), *rows),
        measure=partial(measure, scale, options),
        paper_columns={UCF: "ucf101", HMDB: "hmdb51"},
        part="transfer",
        body=body,
    )


def body(table: Table, record: Record) -> list[str]:
    """One line a method: ours on each data set, and the paper's numbers."""
    sets = (SYNTHETIC, UT, UCF, HMDB)
    heads = [*(f"ours: {name}" for name in sets), *(f"paper: {name}, split 1" for name in table.paper_columns)]
    lines = [f"| | {' | '.join(heads)} |", "|" + "---|" * (len(heads) + 1)]
    for name in OTHERS:
        row = table.row(name)
        lines.append(_line(name, ["", "", "", ""], table.published(row), table))
    for method in OURS:
        rows = [table.row(row_name(method, name)) for name in sets]
        lines.append(_line(method, [_value(table, record, row) for row in rows], table.published(rows[0]), table))
    return [*lines, "", "Methods without a value of ours are the paper's quotations; we do not run them."]


def _line(name: str, ours: Sequence[str], published: Mapping[str, float], table: Table) -> str:
    theirs = [f"{published[head]:.1f}" if head in published else "" for head in table.paper_columns]
    return f"| {' | '.join([name, *ours, *theirs])} |"


def _value(table: Table, record: Record, row: Row) -> str:
    count = len(values(record, row.name))
    if count == 0:
        return markdown.NOT_RUN
    return markdown.value(table, record, row) + (f" ({count} seeds)" if count > 1 else "")


def described(scale: Scale) -> Scale:
    """The scale with the words for what is transferred from where to where."""
    sources = " and ".join(scale.data[part].text for part in ("kinetics400", "kinetics600"))
    few = len(MOTIONS) * FEW["train"], len(MOTIONS) * FEW["test"]
    text = (
        f"transfer between small data sets. Pretrained, in the place of Kinetics, on {sources}. Fine-tuned and tested "
        f"on a third set of synthetic videos ({len(MOTIONS)} motions, two of which only the second pretraining has; "
        f"{few[0]} training and {few[1]} test clips) and on UT-Interaction (real video, 6 classes; a third of the "
        "sequences for testing); where a value stands under UCF-101 or HMDB-51, on these, split 1"
    )
    if scale.name == "paper":
        text = "UCF-101 and HMDB-51, split 1, after pretraining on Kinetics"
    return dataclasses.replace(scale, data={"transfer": Videos(text)})


@plain_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing and write the table."""
    options = add_flags(running.parser(__doc__)).parse_args(arguments)
    scale = SCALES[options.scale]
    if "kinetics600" not in scale.data:
        print(f"Table 4 has no scale {scale.name}: at the scale pocket UT-Interaction is fine-tuned on")
        return
    found = table(scale, options)
    file = RecordFile(found, described(scale), options.results)
    if scale.name == "paper" and not (options.run or options.render):
        print(plan(scale, options))
        return
    failures = [] if options.render else _measure(found, file, scale, options)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.markdown.write_text(markdown.document(found, file.read()))
    if failures:
        raise ValueError("; ".join(failures))


def _measure(found: Table, file: RecordFile, scale: Scale, options: argparse.Namespace) -> list[str]:
    draws: list[Draw] = scale.draws("kinetics600", options.seeds or scale.seeds, options)
    file.check(draws[0].config)
    for name in available(options):  # what is wrong with the clips is said before anything is trained
        target(name, draws[0].config, scale, options)
    torch.set_num_threads(options.threads)
    accelerator, failures = make_accelerator(draws[0].config), []
    for row, wanted in running.plan(found, draws, every=options.every):
        for draw in file.missing(wanted, row.name):
            try:
                measured = found.measure(row, draw.config, draw.seed, accelerator)
            except (ValueError, RuntimeError, ArithmeticError) as error:
                if accelerator.num_processes > 1:  # the others would wait for ever
                    raise
                failures.append(f"{row.name}, seed {draw.key}: {error}")
                continue
            if accelerator.is_main_process:
                file.add(row.name, draw, measured, running.environment(options))
            accelerator.print(f"table4, {row.name}, seed {draw.key}: {measured.value:.1f} %", flush=True)
            accelerator.wait_for_everyone()
    return failures


def plan(scale: Scale, options: argparse.Namespace) -> str:
    """What the published protocol takes."""
    here = available(options)
    tune = tuning.schedule(scale.config.optimizer)
    given = [one.flag for one in (S3DG_400, D3D_400, D3D_600) if getattr(options, one.flag)]
    return (
        f"Nothing was trained. table4: 4 fine-tunings of {tune.steps} steps of {tune.batch_size} clips on each of "
        f"UCF-101 and HMDB-51 (given: {', '.join(here) or 'none; --ucf101 and --hmdb51 name their folders'}), after "
        f"pretraining as in Tables 2 and 3 (weights given: {', '.join(given) or 'none'}). --run starts it."
    )


if __name__ == "__main__":
    main()
