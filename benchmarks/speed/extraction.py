"""Clips per second of `kdvideo prepare` on two cores: by local processes, by Dask, and by the pool of before.

    python -m benchmarks.speed.extraction

The pool that was here before is taken from git into a temporary folder. Every arm runs once a round, in an order drawn
anew, in an interpreter of its own; that pool runs twice (A/A). The rate is that of the second half of the files:
starting the workers is told apart. Clips are windows of real videos, of two seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, default=Path("../shared/data/clips"), help="folder of real videos")
    names = ["abseiling.mp4", "R6llTwEh07w.mp4", "SOX5yA1l24A.mp4", "WUzgd7C1pWA.mp4"]
    parser.add_argument("--names", nargs="+", default=names, help="of the videos used: clips of Kinetics")
    parser.add_argument("--clips", type=int, default=80, help="windows of two seconds of the videos")
    parser.add_argument("--rounds", type=int, default=5, help="that alternate between what is compared")
    options = parser.parse_args()

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from benchmarks import record
from benchmarks.markdown import document, spread, table
from kdvideo.training.timing import spread_of

OLD, AGAIN = "the pool of before", "the pool of before, again"
COMMIT = "c372b48"
WORKERS = 2
ARMS: dict[str, dict[str, int]] = {
    OLD: {"workers": WORKERS},
    AGAIN: {"workers": WORKERS},
    "local processes": {"workers": WORKERS},
    "Dask, local cluster": {"scheduler": WORKERS},
}
JOB = """
import json, sys
from kdvideo.extraction import prepare

if __name__ == "__main__":
    out, rows, options = sys.argv[1], json.load(open(sys.argv[2])), json.loads(sys.argv[3])
    result = prepare(rows, out, short_side=128, **options)
    assert result.done == len(rows), result
"""


def main(options: argparse.Namespace) -> None:
    """Measure all arms, and write the record."""
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), rows(options.videos, options.names, options.clips), options.rounds)
    command = f"python -m benchmarks.speed.extraction --clips {options.clips} --rounds {options.rounds}"
    found = {"result": result, "environment": record.environment(command, 1)}
    record.update("speed_extraction", "prepare", found, markdown)


def rows(videos: Path, names: list[str], count: int) -> list[dict[str, Any]]:
    """List windows of two seconds of the videos."""
    paths = sorted(str(path.resolve()) for path in videos.rglob("*.mp4") if path.name in names)
    starts = [0.0, 0.5, 1.0, 1.5]
    found = [(paths[i % len(paths)], starts[i // len(paths) % 4]) for i in range(count)]
    return [
        {"path": path, "clip": f"{i}.mp4", "start": start, "end": start + 2.0, "label": "x"}
        for i, (path, start) in enumerate(found)
    ]


def measure(folder: Path, clips: list[dict[str, Any]], rounds: int) -> dict[str, Any]:
    """Run every arm once a round."""
    (folder / "rows.json").write_text(json.dumps(clips))
    (folder / "job.py").write_text(JOB)
    before = folder / "before"
    before.mkdir()
    archive = subprocess.run(["git", "archive", COMMIT, "kdvideo"], check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "-x", "-C", str(before)], input=archive, check=True)
    rates: dict[str, list[float]] = {name: [] for name in ARMS}
    starts: dict[str, list[float]] = {name: [] for name in ARMS}
    draws = random.Random(0)
    for number in range(rounds):
        for name in draws.sample(list(ARMS), len(ARMS)):
            tree = before if name in (OLD, AGAIN) else Path.cwd()
            rate, start = run(folder, tree, ARMS[name], f"{number} {name}")
            rates[name].append(rate)
            starts[name].append(start)
            print(f"round {number}  {name:26} {rate:7.2f} clips/s", flush=True)
    arms = {
        name: {
            "clips_per_s": spread_of(rates[name]),
            "ratio": spread_of([a / b for a, b in zip(rates[name], rates[OLD], strict=True)]),
            "start_s": spread_of(starts[name]),
        }
        for name in ARMS
    }
    return {"clips": len(clips), "rounds": rounds, "workers": WORKERS, "arms": arms}


def run(folder: Path, tree: Path, options: Mapping[str, int], name: str) -> tuple[float, float]:
    """Prepare all clips with the code of a tree; return clips per second, and seconds until the first one."""
    out, began = folder / name, time.time()
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "job.py", str(out), "rows.json", json.dumps(options)]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    done = sorted(path.stat().st_mtime for path in out.rglob("*.mp4"))
    half = len(done) // 2  # by then all workers are busy
    return (len(done) - half) / (done[-1] - done[half - 1]), done[0] - began


def markdown(found: Mapping[str, Any]) -> str:
    """Render the record."""
    return document(found, {"prepare": ("Preparing clips on two cores", _table)})


def _table(result: dict[str, Any]) -> list[str]:
    headings = ("who works", "clips a second", f"relative to {OLD}", "seconds until the first clip")
    cells = [
        (name, spread(arm["clips_per_s"], "", 2), spread(arm["ratio"]), spread(arm["start_s"], "", 1))
        for name, arm in result["arms"].items()
    ]
    about = f"{result['clips']} clips, {result['workers']} workers, {result['rounds']} rounds; asked: at least 0.95."
    return [*table(headings, cells), "", about]


if __name__ == "__main__":
    main(options)
