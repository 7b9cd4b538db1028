"""Every command that the plan of the published protocol prints starts, on two processes, and ends with its result."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.paper.methods import D3D, RGB, Method
from benchmarks.paper.tables import scripts
from kdvideo.data import synthetic
from tests.benchmarks.test_table4_transfer import ucf
from tests.examples.tiny import CLASSES, ROOT

__all__ = ["ucf"]
TINY = "tests.benchmarks.tiny_paper"
AVA = "--input.frames 8 --input.fps 10 --input.short-side 48 --input.crop 40 --num-workers 0"
AVA += " --optimizer.steps 2 --optimizer.batch-size 2"


def start(words: list[str]) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr[-3000:]}"
    return done.stdout


def launched(line: str, *, processes: int, port: int) -> list[str]:
    """The words of a printed line, for CPUs: torchrun in the place of accelerate launch."""
    words = shlex.split(line)
    module = words.index("-m") + 1
    launcher = ["torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(port), "-m"]
    return [*launcher, *([] if words[module].startswith("examples") else [TINY]), *words[module:]]


def printed(plan: str, head: str) -> list[str]:
    """The lines of a plan that start a command, each once."""
    return list(dict.fromkeys(line[line.index(head) :] for line in plan.splitlines() if head in line))


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    counts = {"train": 4, "test": 2}
    root = synthetic.write_dataset(tmp_path / "clips", clips_per_class=counts, classes=CLASSES, size=40, frames=20)
    folders = {
        "train": root / "train",
        "test": root / "test",
        "flow-dir": tmp_path / "flow",
        "work-dir": tmp_path / "w",
    }
    return [word for name, folder in folders.items() for word in (f"--{name}", str(folder))]


def weights(work: Path, method: Method) -> str:
    found = [
        path.with_name("model.safetensors")
        for path in work.glob("trained/*/settings.json")
        if json.loads(path.read_text()).get("method") == method.decisive
    ]
    return str(found[0])


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("taught", [(), ("--flow-from", "cache", "--distinct-views", "2")])
def test_every_printed_command_runs(places, ucf, videos, tmp_path: Path, taught: tuple[str, ...]) -> None:
    only = ["--only", "table2", "table6"] if taught else []
    scale = ["benchmarks.paper.run_all", "--scale", "paper", "--gpus", "2", *places, *taught]
    results, work = ["--results", str(tmp_path / "results")], tmp_path / "w"
    plan = start([TINY, *scale, *only])
    for line in printed(plan, "kdvideo extract"):
        start(shlex.split(line.replace("--device cuda", "--device cpu --workers 0")))
    lines = [line for line in printed(plan, "accelerate launch") if not {"table4", "examples.ava"} & set(_names(line))]
    for number, line in enumerate(lines):
        start([*launched(line, processes=2, port=29600 + number), *results])
    if taught:
        assert list(work.glob("teacher/*"))
        return
    networks = [*("--s3dg", weights(work, RGB)), "--d3d-kinetics400", weights(work, D3D)]
    networks += ["--d3d-kinetics600", weights(work, D3D)]
    plan = start([TINY, *scale, "--only", "table4", "table5", "--ucf101", str(ucf), *networks])
    transfer, train, evaluate = printed(plan, "accelerate launch")
    start([*launched(transfer.replace("--hmdb51 HMDB51", ""), processes=2, port=29640), *results])
    detector = tmp_path / "detector"
    given = {"AVA": str(videos), "NETWORK.safetensors": weights(work, D3D), "FOLDER": ""}
    train = " ".join(given.get(word, word) for word in train.split())
    own = [*AVA.split(), "--work-dir", str(work), "--output-dir", str(detector)]
    start([*launched(train, processes=2, port=29641), *own])
    given["FOLDER"] = str(next(detector.rglob("settings.json")).parent)
    evaluate = " ".join(given.get(word, word) for word in evaluate.split())
    start([*launched(evaluate, processes=1, port=29642), *own])
    measured = {path.stem.split("_")[0] for path in (tmp_path / "results").glob("*_paper.json")}
    assert measured == set(scripts.modules()) - {"table5"} | {"claims"}


def _names(line: str) -> list[str]:
    """The scripts that a line starts, by their names."""
    words = line.split()
    module = words[words.index("-m") + 1]
    return ["examples.ava"] if module.startswith("examples.ava") else [module.split(".")[-1].split("_")[0]]
