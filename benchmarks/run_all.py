"""All tables and figures of the paper at one scale, and the paper's claims checked on them.

    python -m benchmarks.run_all --scale pocket --workers 2                    # everything, resumable
    python -m benchmarks.run_all --scale pocket --only table6 figure3          # some of it
    python -m benchmarks.run_all --scale pocket --render                       # only the tables of the records
    python -m benchmarks.run_all --scale paper --only table2 --gpus 56         # what the published protocol takes

Stopped at any point, the same command goes on: records are written after every row and seed, trainings resume.
Workers are processes of one thread that share out the seeds.

What the scale pocket takes, planned for two idle cores and three hours. A training of S3D-G (400 steps) takes about 1.5
minutes of one core (that on flow took 79 s of it), a taught one 2, I3D and NL S3D-G 2 to 3, a flow decoder on frozen
features 0.5 (20 s at 3A of the flow network), with fine-tuning 1.

| | trainings a seed | core minutes a seed | seeds | core minutes |
|---|---|---|---|---|
| Tables 2, 6: S3D-G streams, D3D and its ablations with a claim | 7 | 13 | 6 | 78 |
| Tables 3, 8: S3D-G streams and D3D on the second data set | 3 | 5 | 6 | 30 |
| Table 7: I3D and NL S3D-G, alone and taught | 4 | 10 | 6 | 60 |
| Table 1, Figure 3: decoders on frozen networks, one fine-tuned | 12 | 6 | 6 | 36 |
| no claim: I3D Flow, I3D on the second set, 3D CNN flow, MARS, MERS, fine-tuning at 4 more layers | 10 | 19 | 3 | 57 |
| Table 4: fine-tuning, a quarter of the steps | 6 | 4 | 6 | 24 |
| Table 5: detectors | 2 | 4 | 6 | 24 |

That is about 310 core minutes, and flow and the synthetic videos once, some 5 more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import claims
from benchmarks.tables import running, scripts
from benchmarks.tables.preparing import prepare_flow
from benchmarks.tables.scales import SCALES, Scale
from benchmarks.tables.table import Table
from examples.d3d.config import plain_errors
from examples.d3d.train import make_accelerator


def parser() -> argparse.ArgumentParser:
    """The flags of one script, and which scripts."""
    flags = running.parser(__doc__)
    flags.add_argument("--only", nargs="+", metavar="NAME", help="such as table6 figure3")
    flags.add_argument("--workers", type=int, default=1, help="processes that share out the seeds")
    return flags


def chosen(only: Sequence[str] | None) -> dict[str, Table | None]:
    """Name -> table of the scripts asked for; None for one that has its own command."""
    return {name: getattr(scripts.load(name), "TABLE", None) for name in only or scripts.modules()}


@plain_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then check the claims."""
    options = parser().parse_args(arguments)
    scale, found = SCALES[options.scale], chosen(options.only)
    tables = [table for table in found.values() if table is not None]
    failures: list[str] = []
    if options.workers > 1 and not options.render and scale.name != "paper":
        _prepare(tables, scale, options)
        failures += _share(scale, options)
    failures += running.run(tables, options)
    failures += [name for name, table in found.items() if table is None and not _own_command(name, options)]
    if (scale.name != "paper" or options.run) and not options.worker:
        claims.write(scale.name, options.results)
    if failures:
        raise SystemExit("error: " + "; ".join(failures))


def _prepare(tables: Sequence[Table], scale: Scale, options: argparse.Namespace) -> None:
    """Clips and flow that all workers use."""
    for part in {table.part for table in tables} & set(scale.data):
        for draw in scale.draws(part, options.seeds or scale.seeds, options):
            prepare_flow(draw.config, make_accelerator(draw.config))


def _share(scale: Scale, options: argparse.Namespace) -> list[str]:
    """Run workers on every n-th seed each, to their end."""
    seeds = options.seeds or scale.seeds
    shares = [seeds[k :: options.workers] for k in range(options.workers)]
    processes = [subprocess.Popen(_worker(options, share)) for share in shares if share]
    try:
        codes = [process.wait() for process in processes]
    except KeyboardInterrupt:  # the workers got it too, and end with a checkpoint
        for process in processes:
            process.wait()
        raise SystemExit(130) from None
    return [f"a worker ended with {code}; the same command continues" for code in codes if code]


def _flags(options: argparse.Namespace, seeds: Sequence[int]) -> list[str]:
    """The flags of a command that measures the same at some seeds, none meaning the scale's."""
    flags = ["--scale", options.scale, "--work-dir", options.work_dir]
    if options.results != running.RESULTS:  # a record tells its command: no folder of this machine need be in it
        flags += ["--results", options.results]
    flags += ["--clips", options.clips, "--threads", options.threads]
    flags += [name for name in ("--every", "--render", "--run") if getattr(options, name[2:])]
    return [*map(str, flags), *(["--seeds", *map(str, seeds)] if seeds else [])]


def _worker(options: argparse.Namespace, seeds: Sequence[int]) -> list[str]:
    only = ["--only", *options.only] if options.only else []
    return [sys.executable, "-m", "benchmarks.run_all", "--worker", *only, *_flags(options, seeds)]


def _own_command(name: str, options: argparse.Namespace) -> bool:
    """Run a script that has no `TABLE`; whether it succeeded."""
    command = [sys.executable, "-m", scripts.modules()[name], *_flags(options, options.seeds or ())]
    return subprocess.run(command, check=False).returncode == 0


if __name__ == "__main__":
    main()
