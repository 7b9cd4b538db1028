"""How far two runs of one configuration are apart that differ in rounding only.

    python -m benchmarks.paper.rounding --seeds 0 1 2 3 --workers 2

What Table 2's record holds (one thread, the instructions that PyTorch chose) is trained again with other rounding: on
two threads, or with AVX2 alone. Nothing else differs. The root mean square of the differences says how much of a
difference between two methods is chance that no seed fixes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":  # before the imports, which take seconds
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--scale", choices=["pocket", "shortcut"], default="pocket", help="of the paper's tables")
    flags.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3], help="of all networks")
    others = ["AVX2", "2 threads"]
    flags.add_argument("--roundings", nargs="+", choices=others, default=others, help="that are compared with it")
    flags.add_argument("--workers", type=int, default=1, help="processes at a time")
    flags.add_argument("--work-dir", type=Path, default=Path("runs"), help="clips, flow and trained networks")
    flags.add_argument("--run", choices=others, help=argparse.SUPPRESS)
    options = flags.parse_args()

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

import torch

from benchmarks import markdown, record
from benchmarks.paper import accuracies
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import D3D, FLOW, RGB, Method
from benchmarks.paper.tables.preparing import prepare_flow
from benchmarks.paper.tables.scales import SCALES
from examples.d3d.config import Config
from examples.d3d.training import make_accelerator
from kdvideo.training import StepLog

ROWS: dict[str, tuple[Method, ...]] = {  # as Table 2's record names them
    "S3D-G, RGB": (RGB,),
    "S3D-G, Flow": (FLOW,),
    "S3D-G, RGB+Flow": (RGB, FLOW),
    "D3D, RGB": (D3D,),
    "D3D+S3D-G, RGB": (D3D, RGB),
}


@dataclass(frozen=True)
class Rounding:
    """One way to compute the same: processor threads, and what narrows the instructions."""

    threads: int = 1
    variables: dict[str, str] = field(default_factory=dict)


Runs = dict[str, dict[int, dict[str, Any]]]  # rounding -> seed -> what `one_run` returns
AS_MEASURED = "as in Table 2"
ROUNDINGS = {
    # ATEN_CPU_CAPABILITY alone changed no accuracy of the two seeds that were tried: those would be no pairs.
    "AVX2": Rounding(variables={"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "2 threads": Rounding(threads=2),
}


def shared(config: Config, name: str) -> Config:
    """Return the settings of a rounding, whose networks lie apart while clips and flow are those of all."""
    folder = config.work_dir / "rounding" / name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    for one in ("synthetic", "flow"):
        if not (folder / one).exists():
            (folder / one).symlink_to((config.work_dir / one).absolute(), target_is_directory=True)
    return replace(config, work_dir=folder)


def as_measured(scale: str, seeds: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the runs of Table 2's record; ValueError where it lacks a seed."""
    known = json.loads((record.FOLDER / f"table2_{scale}.json").read_text())
    runs = {}
    for seed in seeds:
        cells = {name: known["rows"][name].get("seeds", {}).get(str(seed)) for name in ROWS}
        if missing := [name for name, cell in cells.items() if cell is None]:
            raise ValueError(
                f"Table 2's record must hold seed {seed} of {missing[0]!r}, got none: first run "
                f"python -m benchmarks.paper.table2_kinetics400 --scale {scale} --seeds {seed}"
            )
        runs[seed] = {
            "top1": {name: cell["value"] for name, cell in cells.items()},
            "trainings": {name: next(iter(cells[name]["trainings"])) for name, of in ROWS.items() if len(of) == 1},
            "cpu_capability": known["environments"][cells["D3D, RGB"]["environment"]]["cpu_capability"],
        }
    return runs


def one_run(config: Config, seed: int) -> dict[str, Any]:
    """Train the three networks of one seed; return the accuracy of every row, and the first losses of each network."""
    lab = Lab(config, make_accelerator(config))
    trained = {method: lab.train(method, seed) for method in (RGB, FLOW, D3D)}
    scores = {method: lab.scores(one) for method, one in trained.items()}
    rows = {name: accuracies.of_scores([scores[one] for one in of], lab).value for name, of in ROWS.items()}
    logs = {one.name: StepLog.read(found.path.parent / "log.jsonl")[:4] for one, found in trained.items()}
    first = {
        name: [sum(value for key, value in row.items() if key != "step") for row in log] for name, log in logs.items()
    }
    names = {name: trained[of[0]].path.parent.name for name, of in ROWS.items() if len(of) == 1}
    capability = torch.backends.cpu.get_cpu_capability()
    return {"top1": rows, "trainings": names, "first_losses": first, "cpu_capability": capability}


def child(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Run one seed with one rounding in a process of its own, since PyTorch chooses its instructions when it starts."""
    rounding = ROUNDINGS[name]
    command = [sys.executable, "-m", "benchmarks.paper.rounding", "--work-dir", str(options.work_dir)]
    command += ["--run", name, "--seeds", str(seed), "--scale", options.scale]
    threads = {"OMP_NUM_THREADS": str(rounding.threads)}
    done = subprocess.run(
        command, env={**os.environ, **threads, **rounding.variables}, stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}, seed {seed}: {found['top1']}", flush=True)
    return found


def recorded(scale: str) -> Runs:
    """Return the runs with other rounding that the record holds."""
    path = record.FOLDER / f"rounding_{scale}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else {}
    return {name: {int(seed): one for seed, one in of.items()} for name, of in runs.items() if name != AS_MEASURED}


def check_settings(runs: Runs, measured: Mapping[int, Mapping[str, Any]]) -> None:
    """Raise ValueError for a run of other settings than those of Table 2's record. D3D's name holds its teacher."""
    for name, of in runs.items():
        for seed, one in of.items():
            for row in ("S3D-G, RGB", "S3D-G, Flow"):
                if one["trainings"][row] != measured[seed]["trainings"][row]:
                    raise ValueError(
                        f"{row}, {name}, seed {seed}, was not trained with the settings of Table 2's record"
                    )


def summary(runs: Runs, options: argparse.Namespace) -> dict[str, Any]:
    """Compute, for every row, the root mean square over the pairs and the spread over the seeds of Table 2."""
    base = as_measured(options.scale, sorted({seed for of in runs.values() for seed in of}))
    check_settings(runs, base)
    rows = []
    for name in ROWS:
        pairs = {
            rounding: {str(seed): one["top1"][name] - base[seed]["top1"][name] for seed, one in of.items()}
            for rounding, of in runs.items()
        }
        apart = [value for of in pairs.values() for value in of.values()]
        top1 = [one["top1"][name] for one in base.values()]
        root = math.sqrt(fmean(value**2 for value in apart))
        spread = stdev(top1) if len(top1) > 1 else None
        rows.append({"method": name, "pairs": pairs, "root_mean_square": root, "mean": fmean(top1), "seeds": spread})
    given = [Path(one).name if Path(one).is_absolute() else one for one in sys.argv[1:]]  # nothing of this machine
    known = record.environment(" ".join(["python -m benchmarks.paper.rounding", *given]), 1)
    return {"scale": options.scale, "rows": rows, "runs": {AS_MEASURED: base, **runs}, "environment": known}


def render(result: dict[str, Any]) -> str:
    """Render the table; every number comes from `result`."""
    cells = []
    for row in result["rows"]:
        apart = [value for of in row["pairs"].values() for value in of.values()]
        spread = "" if row["seeds"] is None else f"{row['seeds']:.1f}"
        largest = max(map(abs, apart))
        cells.append([row["method"], f"{row['mean']:.1f}", f"{row['root_mean_square']:.1f}", f"{largest:.1f}", spread])
    count = sum(map(len, result["rows"][0]["pairs"].values()))
    kinds = ", ".join(result["rows"][0]["pairs"])
    head = [
        "method",
        "top-1 (%)",
        f"root mean square of {count} pair{'s' if count > 1 else ''}",
        "largest",
        "standard deviation over the seeds",
    ]
    text = (
        f"Scale {result['scale']}: points of top-1 between two runs of one seed that differ in rounding only "
        f"({kinds}, against one thread with {next(iter(result['runs'][AS_MEASURED].values()))['cpu_capability']})."
    )
    gains = [
        one["top1"]["D3D, RGB"] - one["top1"]["S3D-G, RGB"] for of in result["runs"].values() for one in of.values()
    ]
    above = (
        f"D3D is above S3D-G on RGB in {sum(gain > 0 for gain in gains)} of {len(gains)} runs "
        f"({len(result['runs'][AS_MEASURED])} seeds), by {min(gains):.1f} to {max(gains):.1f} points."
    )
    return "\n".join([text, "", *markdown.table(head, cells), "", above, ""])


def main(options: argparse.Namespace) -> None:
    """Train what is missing, each seed and rounding in a process of its own; add each to the record."""
    config = replace(SCALES[options.scale].config, work_dir=options.work_dir)
    if options.run:
        print(json.dumps(one_run(shared(config, options.run), *options.seeds)))
        return
    prepare_flow(Lab(config, make_accelerator(config)))
    wanted = [(name, seed) for name in options.roundings for seed in options.seeds]
    with ThreadPoolExecutor(options.workers) as pool:
        for (name, seed), one in zip(wanted, pool.map(lambda of: child(options, *of), wanted), strict=True):
            runs = recorded(options.scale)
            runs.setdefault(name, {})[seed] = one
            record.write(f"rounding_{options.scale}", json.loads(json.dumps(summary(runs, options))), render)


if __name__ == "__main__":
    main(options)
