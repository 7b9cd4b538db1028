"""The recipe on tiny clips, in this process or in another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from examples.d3d import config as settings
from examples.d3d.networks import fast_start, set_momentum
from kdvideo import models

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("horizontal", "spin")
TINY = [
    *("--optimizer.steps", "6", "--optimizer.batch-size", "4", "--checkpointing-steps", "2"),
    *("--distill-weight", "1.0"),
    "--network.no-fast-start",
    *("--input.frames", "8", "--input.crop", "32", "--input.short-side", "36"),
]


def inside(main: Callable[[list[str]], None], clips: Path, work: Path, *more: str) -> None:
    """Run a script in this process: starting one costs seconds of imports."""
    main(command(clips, work, *more)[2:])


def command(clips: Path, work: Path, *more: str, module: str = "examples.d3d.run") -> list[str]:
    places = ["--work-dir", str(work), "--output-dir", str(work / "out")]
    data = ["--train", str(clips / "train"), "--test", str(clips / "test")]
    return ["-m", module, "pocket", *data, *places, *TINY, *more]


def config(clips: Path, work: Path, *more: str) -> settings.Config:
    """The settings of such a command."""
    return settings.parse(command(clips, work, *more)[2:])


def run(arguments: list[str], *, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(
        [*launcher, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def lively_network() -> models.Inception3D:
    """A network whose scores differ from clip to clip."""
    torch.manual_seed(3)
    network = models.s3dg(len(CLASSES), depth_multiplier=0.125, dropout=0)
    fast_start(network)
    torch.nn.init.normal_(network.get_parameter("head.proj.weight"), std=0.03)
    set_momentum(network, 1.0)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 8, 40, 40))
    return network.eval()
