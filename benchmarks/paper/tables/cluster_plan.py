"""Plan of the published protocol: what there is to train, the command that starts it, the clips, and the cost.

Nothing is trained without --execute, which the command that is printed has.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import record
from benchmarks.paper import decoding, published
from benchmarks.paper.methods import Method
from benchmarks.paper.tables import flow_flags, scripts
from benchmarks.paper.tables.sharing import networks
from benchmarks.paper.tables.table import Table
from examples.d3d.config import Config, Optimizer
from kdvideo.data import ClipError, probe
from kdvideo.extraction import clips_of

CLIPS = {"kinetics400": ("Kinetics-400", 226_000), "kinetics600": ("Kinetics-600", 369_000)}
GPUS_PER_MACHINE = 8
STEP = ("gpu_steps", "plain RGB")


class Found(NamedTuple):
    """The clips of a list: listed, there, opened, and readable among those."""

    listed: int
    there: int
    opened: int
    readable: int


def plan(tables: Sequence[Table], config: Config, options: argparse.Namespace) -> str:
    """Say everything that one must know before the published protocol is run."""
    lines = [f"Nothing was trained: this is what the published protocol takes, for one seed. {record_of_steps()}"]
    if options.gpus > GPUS_PER_MACHINE:
        lines.append(
            "Start each command on every machine, with its number from 0 as RANK, the address of the first as MASTER, "
            "and a --work-dir that all of them see."
        )
    for part in CLIPS:
        if mine := [table for table in tables if table.part == part and not table.plan]:
            lines += ["", *_of_data(part, mine, config, options)]
    for table in tables:
        lines += ["", f"{table.name}: {table.plan(options)}"] if table.plan else []
    return "\n".join(lines)


def _of_data(part: str, tables: Sequence[Table], config: Config, options: argparse.Namespace) -> Iterator[str]:
    """What the tables that share a data set train, and the command that does it."""
    data, count = CLIPS[part]
    yield f"{data}, of which the paper had {count} clips for training; for {', '.join(table.name for table in tables)}"
    for side in ("train", "test"):
        yield f"  --{side}: {_clips(getattr(options, side), options)}"
    yield from _networks(tables, config, options)
    if any(table.needs_flow for table in tables):
        yield from (f"  first: {line}" for line in flow_flags.extraction(config, options))
    yield f"  {command(tables, config, options)}"


def _networks(tables: Sequence[Table], config: Config, options: argparse.Namespace) -> Iterator[str]:
    """Each network once, although several tables need it: they share what is trained."""
    own, total = {} if options.equal_steps else published.own(config), 0
    users: dict[tuple[Method, int], list[str]] = {}
    for table in tables:
        for training in networks_of(table):
            users.setdefault(training, []).append(table.name)
    yield f"  {'network':<28}{'steps x clips':>14}  {'GPU-hours':<13} for"
    for (method, seed), names in sorted(users.items(), key=lambda item: (item[0][0].name, item[0][1])):
        schedule = own.get(method, config).optimizer
        clips = schedule.steps * schedule.batch_size
        total += clips
        yield _line(method.name + seed * " of another seed", schedule, cost(clips), names)
    read = [(one, table.name) for table in tables for row in table.rows for one in row.of if _is_trained_reader(one)]
    if read:
        count, names = len({one for one, _ in read}), list(dict.fromkeys(name for _, name in read))
        yield _line(f"{count} flow decoders", decoding.schedule(config), "not counted", names)
    yield f"  GPU-hours together: {cost(total)}"


def _line(name: str, schedule: Optimizer, hours: str, users: Sequence[str]) -> str:
    return f"  {name:<28}{schedule.steps:>8} x {schedule.batch_size:<3}  {hours:<13} {' '.join(users)}"


def networks_of(table: Table) -> set[tuple[Method, int]]:
    """Return the networks that a table needs for one seed, teachers too; 1 stands for another seed than the table's."""
    return networks(one for row in table.rows for one in row.of)


def _is_trained_reader(one: Any) -> bool:
    return isinstance(one, decoding.Features) and one.method is not None


def command(tables: Sequence[Table], config: Config, options: argparse.Namespace) -> str:
    """Return the line that trains and measures tables on so many GPUs."""
    names = [table.name for table in tables]
    script = ["--scale", "paper", *(["--only", *names] if len(names) > 1 else [])]
    script += ["--gpus", str(options.gpus), "--train", str(options.train or "TRAIN")]
    script += ["--test", str(options.test or "TEST"), *(["--root", str(options.root)] if options.root else [])]
    script += ["--seeds", *map(str, options.seeds)] if options.seeds else []
    script += ["--equal-steps"] if options.equal_steps else []
    script += flow_flags.words(options)
    needs_flow = any(table.needs_flow for table in tables)
    if needs_flow and not options.flow_dir and flow_flags.extraction(config, options):
        script += ["--flow-dir", "FLOW"]
    module = scripts.modules()[names[0]] if len(names) == 1 else "benchmarks.paper.run_all"
    return launch(options.gpus, module, [*script, "--work-dir", str(options.work_dir), "--execute"])


def launch(gpus: int, module: str, flags: Sequence[str]) -> str:
    """Return the line that starts a module on so many GPUs."""
    line = f"accelerate launch --num_processes {gpus}"
    if gpus > GPUS_PER_MACHINE:
        # Accelerate starts the same number of processes on every machine.
        machines = next(n for n in range(-(-gpus // GPUS_PER_MACHINE), gpus + 1) if gpus % n == 0)
        line += f" --num_machines {machines} --machine_rank $RANK --main_process_ip $MASTER --main_process_port 29500"
    return f"{line} -m {module} {shlex.join(flags)}"


def _clips(place: Path | None, options: argparse.Namespace) -> str:
    if place is None:
        return "not given"
    found = examine(place, options.root, probe_at_most=options.probe)
    return f"{found.listed} clips listed, {found.there} there; of {found.opened} opened, {found.readable} are readable"


def examine(place: Path, root: Path | None, *, probe_at_most: int) -> Found:
    """Count the clips of a folder or list that are there and, of so many evenly chosen ones (0: all), readable."""
    rows = clips_of(place, root=root)
    there = [row for row in rows if Path(row["path"]).is_file()]
    count = min(probe_at_most or len(there), len(there))
    chosen = [there[k * len(there) // count] for k in range(count)]
    with ThreadPoolExecutor() as pool:
        readable = sum(pool.map(_readable, chosen))
    return Found(len(rows), len(there), count, readable)


def _readable(row: dict[str, Any]) -> bool:
    try:
        probe(row["path"], start=row["start"], end=row["end"])
    except ClipError:
        return False
    return True


def _measured_step() -> tuple[float, str] | None:
    """(clips a second in training, on which machine) from the record of the ways of teaching."""
    path, (part, arm) = record.FOLDER / "speed_flow.json", STEP
    known = json.loads(path.read_text()).get(part) if path.exists() else None
    if not known:
        return None
    result = known["result"]
    return result["setting"]["batch"] / result["seconds"][arm], known["environment"]["hardware"]


def record_of_steps() -> str:
    """Say on what the estimates rest."""
    step = _measured_step()
    if step is None:
        return "GPU-hours are not known: python -m benchmarks.speed.flow --only gpu_steps on a GPU measures a step."
    return (
        f"GPU-hours are those of a measured training step of S3D-G on RGB, {step[0]:.0f} clips/s in bfloat16 on one "
        f"GPU ({step[1]}), for every network; I3D, teachers, flow decoders, flow and reading of clips cost more."
    )


def cost(clips: float) -> str:
    """Estimate the GPU-hours for so many clips of 64 frames in training."""
    step = _measured_step()
    return "not measured" if step is None else f"about {clips / step[0] / 3600:.0f}"
