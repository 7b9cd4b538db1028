"""All tables and figures of the paper at one scale, and the paper's claims checked on them.

    python -m benchmarks.paper.run_all --scale pocket --workers 2                    # everything, resumable
    python -m benchmarks.paper.run_all --scale pocket --only table6 figure3          # some of it
    python -m benchmarks.paper.run_all --scale pocket --render                       # only the tables of the records
    python -m benchmarks.paper.run_all --scale paper --only table2 --gpus 56         # what the published protocol takes

Stopped at any point, the same command goes on: records are written after every row and seed, trainings resume.
Workers are processes of one thread that share out the seeds.

The scale shortcut took about 230 minutes of one core, two hours of two (processor time of the workers on an AMD EPYC;
the machine was shared, and a first part had been trained the day before). A training of S3D-G, 400 steps, takes a
minute of one core, a taught one or I3D 1.2, a flow decoder on frozen features a third of a minute, fine-tuned one
minute, a detector 1.7, a fine-tuning to other classes half a minute.

| | trainings a seed | seeds |
|---|---|---|
| Tables 2, 6: S3D-G streams, D3D and its ablations with a claim | 7 | 6 |
| Tables 3, 8: S3D-G streams and D3D on the second data set | 3 | 6 |
| Table 7: I3D and NL S3D-G, alone and taught | 4 | 6 |
| Table 1, Figure 3: decoders on frozen networks, one fine-tuned | 12 | 6 |
| no claim: I3D Flow, I3D on the second set, 3D CNN flow, MARS, MERS, fine-tuning at 4 more layers | 10 | 3 |
| Table 4: fine-tunings to two data sets, a quarter of the steps | 6 (and 2 without pretraining at 3 seeds) | 6 |
| Table 5: detectors | 2 | 6 |
"""

from __future__ import annotations

import argparse

from benchmarks.paper.tables import flags

if __name__ == "__main__":
    flags.parser_of_all(__doc__).parse_args()  # --help and wrong flags end here, before the imports take their seconds

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from accelerate import PartialState

from benchmarks.paper import claims
from benchmarks.paper.tables import running, scripts
from benchmarks.paper.tables.preparing import prepare_flow
from benchmarks.paper.tables.scales import SCALES, Scale
from benchmarks.paper.tables.table import Table
from examples.d3d.config import plain_errors
from examples.d3d.training import make_accelerator


@plain_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Say how many runs the claims need, measure what is missing, then check the claims."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = flags.parser_of_all(__doc__).parse_args(given)
    options.seeds = options.worker or options.seeds
    scale = SCALES[options.scale]
    tables = [scripts.table(name, scale, options) for name in options.only or scripts.modules()]
    if not options.render and (said := scale.plan(tables, options)):
        print(said)
        return
    if not (options.worker or options.render):
        names = [table.name for table in tables]
        print(f"runs of each row that the claims need:\n{claims.power(scale.name, options.results, names)}", flush=True)
    failures: list[str] = []
    running.environment(options.threads)
    if options.workers > 1 and not (options.worker or options.render or scale.published):
        _prepare(tables, scale, options)
        failures += _share(options.seeds or scale.seeds, options.workers, given)
    failures += running.run(tables, options, pictures=not options.worker)
    if not options.worker and PartialState().is_main_process:
        claims.write(scale.name, options.results)
    if failures:
        raise SystemExit("error: " + "; ".join(failures))


def _prepare(tables: Sequence[Table], scale: Scale, options: argparse.Namespace) -> None:
    """Prepare the clips and the flow that all workers use."""
    accelerator = make_accelerator(scale.config)
    for part, needs_flow in {(table.part, table.needs_flow) for table in tables if table.part in scale.data}:
        draws = scale.draws(part, options.seeds or scale.seeds, options, accelerator)
        for lab in {id(draw.lab): draw.lab for draw in draws}.values():
            if needs_flow:
                prepare_flow(lab)


def _terminate(processes: Sequence[subprocess.Popen[bytes]]) -> Callable[..., None]:
    def handler(*_: object) -> None:
        for process in processes:
            process.terminate()

    return handler


def _share(seeds: Sequence[int], workers: int, given: Sequence[str]) -> list[str]:
    """Run the same command in workers of every n-th seed each, to their end."""
    shares = [list(map(str, seeds[k::workers])) for k in range(workers)]
    command = [sys.executable, "-m", "benchmarks.paper.run_all", *given, "--worker"]
    processes = [subprocess.Popen([*command, *share]) for share in shares if share]
    before = signal.signal(signal.SIGTERM, _terminate(processes))
    try:
        codes = [process.wait() for process in processes]
    except KeyboardInterrupt:  # the workers got it too, and end with a checkpoint
        for process in processes:
            process.wait()
        raise SystemExit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    return [f"a worker ended with {code}; the same command continues" for code in codes if code]


if __name__ == "__main__":
    main()
