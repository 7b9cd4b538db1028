"""The flags of the scripts of tables and figures. Nothing here imports torch: `--help` and wrong flags end first."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from benchmarks import record

RESULTS = record.FOLDER
SCALES = ("pocket", "shortcut", "more_clips", "ut_interaction", "bench", "paper")
Group: TypeAlias = "argparse._ArgumentGroup"


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return the flags that all scripts of tables and figures have."""
    flags = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--scale", choices=SCALES, default="pocket", help="of networks, clips and schedules")
    flags.add_argument("--seeds", type=int, nargs="+", help="default: as many as the scale has")
    flags.add_argument("--every", action="store_true", help="all rows at all seeds, also those without a claim")
    flags.add_argument(
        "--threads", type=positive, default=1, help="of the processor; accuracies depend on their number"
    )
    flags.add_argument("--work-dir", type=Path, default=Path("runs"), help="clips, flow and trained networks")
    flags.add_argument("--results", type=Path, default=RESULTS, help="folder of the records and their tables")
    flags.add_argument("--render", action="store_true", help="measure nothing, write the tables of the records anew")
    flags.add_argument("--clips", type=Path, default=Path("../shared/data/ut_interaction"), help="of UT-Interaction")
    _of_the_paper(flags.add_argument_group("--scale paper"))
    _of_flow(flags.add_argument_group("flow"))
    own = flags.add_argument_group("Table 4")
    own.add_argument("--ucf101", type=Path, help="folder of UCF-101, as its archives unpack")
    own.add_argument("--hmdb51", type=Path, help="folder of HMDB-51, as its archives unpack")
    for network in ("s3dg", "d3d-kinetics400", "d3d-kinetics600"):
        own.add_argument(f"--{network}", type=Path, help="trained weights that take the place of our pretraining")
    return flags


def parser_of_all(about: str | None) -> argparse.ArgumentParser:
    """Return the flags of one script, and which scripts."""
    flags = parser(about)
    flags.add_argument("--only", nargs="+", metavar="NAME", help="such as table6 figure3")
    flags.add_argument("--workers", type=positive, default=1, help="processes that share out the seeds")
    flags.add_argument("--worker", nargs="+", type=int, metavar="SEED", help=argparse.SUPPRESS)
    return flags


def positive(text: str) -> int:
    """Read a whole number above 0, as a flag's type."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be above 0, got {number}")
    return number


def _of_the_paper(group: Group) -> None:
    """Add the flags that only the published protocol has."""
    group.add_argument("--train", type=Path, help="training clips: a folder per class, or a csv of path,label")
    group.add_argument("--test", type=Path, help="validation clips, in the same form")
    group.add_argument("--root", type=Path, help="folder of the csv files' paths")
    group.add_argument("--gpus", type=int, default=8, help="that the command shall use; any number")
    group.add_argument("--probe", type=int, default=1000, help="clips of each list that are opened; 0: all")
    group.add_argument(
        "--equal-steps", action="store_true", help="train S3D-G and I3D as long as D3D, not as their own papers say"
    )
    # Not --run, which torchrun, in front of the script, takes for a flag of its own.
    group.add_argument("--execute", action="store_true", help="train and measure, instead of saying how")


def _of_flow(group: Group) -> None:
    """Add the flags of the recipe that concern flow; the scale has a default for each."""
    group.add_argument(
        "--flow-dir", type=Path, help="what `kdvideo extract` wrote: of --train in train/, --test in test/"
    )
    group.add_argument("--flow-from", choices=["store", "online", "cache"], help="what D3D students are taught with")
    group.add_argument("--cache-flow", choices=["frames", "online"], help="the flow behind a cache")
    group.add_argument("--distinct-views", type=int, help="of a clip, after which a D3D student's repeat; 0: never")
