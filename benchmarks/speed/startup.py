"""Start of a training on as many clips as Kinetics-400 has: from the lists to the first index of the loader.

    python -m benchmarks.speed.startup --folder /disk/with/room --processes 1 2 8

Files of one byte in one folder per split, as the archives of Kinetics unpack, and official lists are written once.
Every number of processes is started by torchrun; all of them open the lists as `examples.d3d` does, take the
fingerprint of the training clips and make its views. The figure is the slowest process, from a common barrier; what it
takes to import the libraries is not in it. No video is opened. The processor time of the first process, which reads for
all, says what the figure is worth on a machine that is shared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":  # before the imports, which take seconds
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--folder", type=Path, required=True, help="for the clips, 1 GB")
    flags.add_argument("--clips", type=int, default=226_000, help="of the list; as many as Kinetics-400 has")
    flags.add_argument("--processes", type=int, nargs="+", default=[1, 2, 8], help="numbers of processes")
    flags.add_argument("--repeats", type=int, default=3, help="of each, of which the median counts")
    flags.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = flags.parse_args()

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from benchmarks import record

TEST, CLASSES = 19_881, 400
PARTS = ("open", "fingerprint", "views")


def rows(split: str, count: int) -> Iterator[tuple[str, str]]:
    """Yield a line of the list and the name of its file."""
    for i in range(count):
        name, start = f"{split[0]}{i:010d}", i % 290
        line = f"class {i % CLASSES:03d},{name},{start},{start + 10},{split}\n"
        yield line, f"{name}_{start:06d}_{start + 10:06d}.mp4"


def write_clips(root: Path, count: int) -> None:
    """Write lists and clips of one byte, unless they are there; one in fifty is missing."""
    for split, number in (("train", count), ("val", min(TEST, count))):
        list_ = root / f"{split}.csv"
        if list_.exists():
            continue
        (root / split).mkdir(parents=True, exist_ok=True)
        text = ["label,youtube_id,time_start,time_end,split\n"]
        for i, (line, name) in enumerate(rows(split, number)):
            text.append(line)
            if i % 50:
                (root / split / name).write_bytes(b"v")
        list_.write_text("".join(text))


def measure(root: Path) -> dict[str, Any]:
    """Start once, in one of the processes; return the seconds of each part in the slowest one."""
    import dataclasses
    import warnings

    import torch
    from torch import distributed

    from examples.d3d.config import PAPER
    from examples.d3d.data import fingerprint, open_clips

    distributed.init_process_group("gloo", timeout=timedelta(minutes=30))
    warnings.simplefilter("ignore")
    work = root / "work"
    config = dataclasses.replace(PAPER, train=root / "train.csv", test=root / "val.csv", root=root, work_dir=work)
    distributed.barrier()
    times, processor = [time.monotonic()], time.process_time()
    clips = open_clips(config)
    times.append(time.monotonic())
    name = fingerprint(clips.train)
    times.append(time.monotonic())
    views = clips.readable(clips.views(clips.train, train=True))
    times.append(time.monotonic())
    spent = torch.tensor([b - a for a, b in zip(times, [*times[1:], times[-1]], strict=True)], dtype=torch.float64)
    spent[-1] = times[-1] - times[0]
    distributed.all_reduce(spent, distributed.ReduceOp.MAX)
    found = dict(zip((*PARTS, "all"), spent.tolist(), strict=True)) | {"processor": time.process_time() - processor}
    return {"seconds": found, "train": len(views), "test": len(clips.test), "fingerprint": name}


def launch(root: Path, processes: int, port: int) -> dict[str, Any]:
    """Run `measure` in so many processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.json")
        command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        command += [f"--master_port={port}", "-m", "benchmarks.speed.startup", "--worker", str(out)]
        subprocess.run([*command, "--folder", str(root)], check=True)
        found: dict[str, Any] = json.loads(out.read_text())
    return found


def markdown(result: dict[str, Any]) -> str:
    """Render the table."""
    first = result["runs"][0]
    lines = [
        f"Start on official lists of {result['listed']} training clips, one in fifty missing ({first['train']} are "
        f"left), and {first['test']} test clips: files of one byte on a local disk, "
        f"{result['environment']['hardware']}, load average {result['environment']['load_average']}. Seconds of the "
        f"slowest process, the median of {result['repeats']}; in brackets the processor time of the first process.",
        "",
        "| processes | lists opened by one and sent to all | fingerprint | views made | all |",
        "|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        cells = " | ".join(f"{run['seconds'][part]:.1f}" for part in (*PARTS, "all"))
        lines.append(f"| {run['processes']} | {cells} ({run['seconds']['processor']:.1f}) |")
    return "\n".join([*lines, "", f"`{result['environment']['command']}`, {result['environment']['date']}.", ""])


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run whose whole time is the median."""
    return sorted(runs, key=lambda run: float(run["seconds"]["all"]))[len(runs) // 2]


def main(options: argparse.Namespace) -> None:
    """Measure every number of processes, and write the record."""
    if options.worker:
        found = measure(options.folder)
        if int(os.environ["RANK"]) == 0:
            options.worker.write_text(json.dumps(found))
        return
    write_clips(options.folder, options.clips)
    runs = []
    for number, processes in enumerate(options.processes):
        tries = [launch(options.folder, processes, 29600 + 10 * number + i) for i in range(options.repeats)]
        runs.append({"processes": processes} | median(tries) | {"every": [one["seconds"]["all"] for one in tries]})
    counts = " ".join(map(str, options.processes))
    command = f"python -m benchmarks.speed.startup --folder DISK --processes {counts}"
    environment = record.environment(command, 1)
    result = {"listed": options.clips, "repeats": options.repeats, "runs": runs, "environment": environment}
    record.write("speed_startup", result, markdown)


if __name__ == "__main__":
    main(options)
