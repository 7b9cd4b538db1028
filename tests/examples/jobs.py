"""A small training in processes of their own, to be killed, stopped and started again."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from examples.d3d.batches import Training
from examples.d3d.config import Optimizer
from examples.d3d.training import fit
from kdvideo.training import StepLog, step_seed

STEPS = 24
OPTIMIZER = Optimizer(
    name="adamw", steps=STEPS, batch_size=5, reference_batch=5, lr=0.05, decay_at=(12,), average=0.9, clip_norm=1.0
)


class Views:
    """Items made from the three generators that augmentations draw from, seeded by (epoch, index)."""

    def __init__(self, trouble: str, rank: int) -> None:
        self.trouble, self.rank = trouble, rank

    def __len__(self) -> int:
        return 11

    def __getitem__(self, at: tuple[int, int]) -> dict[str, Any]:
        if self.trouble and self.rank == 1 and at[0] == 3:
            _trouble(self.trouble)
        if int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 2)) < 2 and self.rank == 1 and at[0] == 4:
            os.kill(os.getpid(), signal.SIGKILL)  # on the first two attempts of a launcher
        seed = step_seed(at[0], at[1])
        generator, values = torch.Generator().manual_seed(seed), np.random.default_rng(seed % 2**32)
        x = torch.rand(6, generator=generator) + torch.from_numpy(values.random(6)).float()
        return {"x": x * random.Random(seed).random(), "clip": f"{at[0]}:{at[1]}"}


def _trouble(kind: str) -> None:
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hangs":
        time.sleep(1000)
    raise OSError("the disk is gone")


def network(*, random_layers: bool) -> nn.Module:
    """Return a network, with layers that draw and keep statistics or without: those depend on the shares of a batch."""
    layers = [nn.BatchNorm1d(8), nn.Dropout(0.3)] if random_layers else []
    return nn.Sequential(nn.Linear(6, 8), *layers, nn.Tanh(), nn.Linear(8, 1))


def losses(model: nn.Module, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    time.sleep(0.01)  # long enough to be killed in
    drawn = random.random() + float(np.random.rand())  # noqa: NPY002
    return {"action": (model(batch["x"]) - batch["x"].sum(1, keepdim=True)).square().mean(), "drawn": _still(drawn)}


def _still(value: float) -> torch.Tensor:
    return torch.tensor(value, requires_grad=True) * 1


def work(folder: str, rank: int, world: int, port: int, options: dict[str, Any]) -> None:
    """Train in one process of `world`; the first one writes the trained weights to `end.pt`."""
    output = os.open(f"{folder}/rank{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if world > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in place.items()})
    torch.set_num_threads(1)
    torch.manual_seed(7)
    # What these draw before the training must not matter.
    model = network(random_layers=options.get("random_layers", True))
    random.seed(os.getpid())
    np.random.seed(os.getpid())  # noqa: NPY002
    dataset: Any = Views(options.get("trouble", ""), rank)
    limits = {name: options[name] for name in ("num_workers", "step_deadline") if name in options}
    one = Training("job", Path(folder), model, losses, dataset, OPTIMIZER, 0, checkpointing_steps=4, **limits)
    accelerator = Accelerator(cpu=True)
    trained = fit(one, accelerator)
    if accelerator.is_main_process:
        torch.save(trained.state_dict(), f"{folder}/end.pt")


def start(folder: Path, world: int = 1, **options: Any) -> list[Any]:
    """Start the processes of a training."""
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "kdvideo", "accelerate", "tests.examples.jobs"])
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    started = [context.Process(target=work, args=(str(folder), rank, world, port, options)) for rank in range(world)]
    for one in started:
        one.start()
    return started


def finish(processes: list[Any], seconds: float = 120) -> list[int | None]:
    """Wait for processes; return their exit statuses, None for one that still ran and was killed."""
    end = time.monotonic() + seconds
    for one in processes:
        one.join(max(end - time.monotonic(), 0.1))
    found = [one.exitcode for one in processes]
    for one in processes:
        one.kill()
    return found


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the training does not get on"
        time.sleep(0.002)


def logged(folder: Path) -> list[dict[str, Any]]:
    """Return what the log holds by now."""
    file = folder / "log.jsonl"
    return StepLog.read(file) if file.exists() else []


def has_more_than(folder: Path, steps: int) -> bool:
    """Return whether more steps are in the log."""
    return len(logged(folder)) > steps


if __name__ == "__main__":
    # A launcher has said how many there are, and where.
    work(sys.argv[1], int(os.environ.get("RANK", 0)), 1, 0, {})
