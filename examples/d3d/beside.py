"""The RGB network, trained by a process of its own while the teacher is trained, where the machine has cores for both.

The thin networks of the pocket preset gain nothing from a second thread, but the run does from a second training.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from accelerate import Accelerator

from examples.d3d.config import Config
from examples.d3d.data import Clips
from examples.d3d.train_teacher import WEIGHTS, train_stream
from examples.d3d.training import make_accelerator
from kdvideo.training import die_with_parent


@contextmanager
def rgb_beside(config: Config, clips: Clips, seed: int, accelerator: Accelerator) -> Iterator[bool]:
    """Train the RGB network of a seed beside what the block does, and wait for it; yield whether that is done.

    Both have half of the threads, and on two cores the bits of one thread. What the process cannot do, such as a
    training that fails, the caller's own `train_stream` does, or says: it takes the network that lies there, or
    continues from the checkpoint.
    """
    threads, folders = torch.get_num_threads(), [config.folder(seed, name) for name in ("flow", "rgb")]
    alone = accelerator.num_processes == 1 and accelerator.device.type == "cpu" and threads > 1
    if not alone or config.teacher or any((folder / WEIGHTS).exists() for folder in folders):
        yield False
        return
    folders[1].mkdir(parents=True, exist_ok=True)  # `later` counts no steps of a training that has begun
    torch.set_num_threads(threads // 2)
    seen = dataclasses.replace(clips, _opened={})  # without decoded clips
    process = multiprocessing.get_context("spawn").Process(target=_train, args=(config, seen, seed, threads // 2))
    process.start()
    try:
        yield True
        process.join()
    finally:
        process.terminate()  # where this one is stopped: it leaves a checkpoint too
        process.join()
        torch.set_num_threads(threads)


def _train(config: Config, clips: Clips, seed: int, threads: int) -> None:
    die_with_parent()
    torch.set_num_threads(threads)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        # One bar is enough, and the caller meets every error again.
        train_stream(config, clips, "rgb", seed, make_accelerator(config))
