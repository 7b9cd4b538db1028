"""Plan of the published protocol: what there is to train, the command that starts it, the clips, and the cost.

Nothing is trained without --run, which the command that is printed has.
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
from benchmarks.paper import decoding
from benchmarks.paper.methods import Method
from benchmarks.paper.tables import flow_flags, scripts
from benchmarks.paper.tables.gpu_shares import accumulation
from benchmarks.paper.tables.table import Table
from examples.d3d.config import Config
from kdvideo.data import ClipError, probe
from kdvideo.extraction import clips_of

CLIPS = {"kinetics400": ("Kinetics-400", 226_000), "kinetics600": ("Kinetics-600", 369_000)}
GPUS_PER_MACHINE = 8
STEP = ("gpu_steps", "plain RGB")


def add_flags(flags: argparse.ArgumentParser) -> None:
    """Add the flags that only the published protocol has."""
    group = flags.add_argument_group("--scale paper")
    group.add_argument("--train", type=Path, help="training clips: a folder per class, or a csv of path,label")
    group.add_argument("--test", type=Path, help="validation clips, in the same form")
    group.add_argument("--root", type=Path, help="folder of the csv files' paths")
    group.add_argument("--gpus", type=int, default=8, help="that the command shall use")
    group.add_argument("--probe", type=int, default=1000, help="clips of each list that are opened; 0: all")
    group.add_argument("--run", action="store_true", help="train and measure, instead of saying how")


class Found(NamedTuple):
    """The clips of a list: listed, there, opened, and readable among those."""

    listed: int
    there: int
    opened: int
    readable: int


def plan(tables: Sequence[Table], config: Config, options: argparse.Namespace) -> str:
    """Say everything that one must know before the published protocol is run."""
    parts = [f"Nothing was trained. {record_of_steps()}"]
    for table in tables:
        parts += (
            ["", f"{table.name}: {table.plan(options)}"] if table.plan else ["", *_of_table(table, config, options)]
        )
    return "\n".join(parts)


def _of_table(table: Table, config: Config, options: argparse.Namespace) -> Iterator[str]:
    networks, readers = trainings(table)
    steps, batch = config.optimizer.steps, config.optimizer.batch_size
    yield f"{table.name}: {len(networks)} networks of {steps} steps of {batch} clips: {'; '.join(networks)}"
    if readers:
        decoder = decoding.schedule(config, processes=options.gpus)
        yield f"  {readers} flow decoders of {decoder.steps} steps of {decoder.batch_size} clips"
    name, count = CLIPS[table.part]
    yield f"  clips: {name}, of which the paper had {count} for training"
    for side in ("train", "test"):
        yield f"  --{side}: {_clips(getattr(options, side), options)}"
    yield f"  GPU-hours: {cost(len(networks) * steps * batch)}"
    if table.needs_flow:
        yield from (f"  first: {line}" for line in flow_flags.extraction(config, options))
    yield f"  {command(table, config, options)}"


def trainings(table: Table) -> tuple[list[str], int]:
    """Return the networks that a table needs for one seed, teachers too, and the number of its flow decoders."""
    of = {one for row in table.rows for one in row.of}
    features = {one for one in of if isinstance(one, decoding.Features) and one.method}
    wanted = [(one.method, 0) for one in features] + [(one, 0) for one in of if isinstance(one, Method)]
    found = set()
    while wanted:
        method, seed = wanted.pop()
        assert method is not None
        found.add((method, seed))
        if method.teacher:
            wanted.append((method.teacher, seed + (method.teacher.stream == method.stream)))
    return sorted(method.name + seed * " of another seed" for method, seed in found), len(features)


def command(table: Table, config: Config, options: argparse.Namespace) -> str:
    """Return the line that trains and measures a table on so many GPUs."""
    accumulation(config, options.gpus)
    script = ["--scale", "paper", "--gpus", str(options.gpus)]
    script += ["--train", str(options.train or "TRAIN"), "--test", str(options.test or "TEST")]
    script += ["--root", str(options.root)] if options.root else []
    script += flow_flags.words(options)
    if table.needs_flow and not options.flow_dir and flow_flags.extraction(config, options):
        script += ["--flow-dir", "FLOW"]
    script += ["--work-dir", str(options.work_dir), "--run"]
    return launch(options.gpus, scripts.modules()[table.name], script)


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
        f"GPU ({step[1]}), for every network; teachers, flow decoders, flow and reading of clips come on top."
    )


def cost(clips: float) -> str:
    """Estimate the GPU-hours for so many clips of 64 frames in training."""
    step = _measured_step()
    return "not measured" if step is None else f"about {clips / step[0] / 3600:.0f}"
