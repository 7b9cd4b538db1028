"""One training, and its batches: in which order, read by whom, and what is said where a reader dies."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import Dataset

from examples.d3d.config import Optimizer
from examples.d3d.loading import loader_of, named
from examples.d3d.shares import Share
from kdvideo import data, flow
from kdvideo.training import StepSampler, Watched

STEP_DEADLINE, CLIP_DEADLINE = 600.0, 120.0  # seconds
Batch = dict[str, Any]
Losses = Callable[[nn.Module, Batch], Mapping[str, Tensor]]


def unchanged(batch: Batch) -> Batch:
    """Return the batch as it is."""
    return batch


@dataclass(frozen=True)
class Training:
    """One training: what learns, from which data, for how long.

    Attributes:
        name: shown beside the progress bar.
        folder: gets `log.jsonl`, `checkpoints/` and, where clips could not be read, `unreadable.txt`.
        model: learns; in the mode, training or evaluation, in which it is to learn.
        losses: (model, batch) -> the weighted terms of the loss by name; their sum is minimized.
        dataset: its items are asked for by (epoch, index), so that views are functions of both.
        optimizer: the schedule.
        seed: of the order of the data and of dropout.
        on_device: applied to a batch on its device, one batch ahead of the training; bytes are floats by then.
        accumulate: parts of a batch whose gradients are added up before a step.
        channels_last: keep the kernels of 3-D convolutions, and with them what the layers pass on, channels last.
        compile: compile the model.
        skip: leave steps out whose loss or gradient is not finite, instead of raising.
        step_deadline: seconds after which a step that does not end ends the process, with every thread's stack; 0:
            never.
        clip_deadline: seconds that a loader's worker may take for one item; 0: any.
        measure: gives an accuracy on test clips, which is logged as "top1"; called in all processes.
        measure_every: steps between two such measurements; 0: none.
        later: steps of the trainings that follow, for the time that is left in all.
    """

    name: str
    folder: Path
    model: nn.Module
    losses: Losses
    dataset: Dataset[Any]
    optimizer: Optimizer
    seed: int
    on_device: Callable[[Batch], Batch] = unchanged
    collate: Callable[[list[Any]], Batch] | None = None
    num_workers: int = 0
    checkpointing_steps: int = 1000
    accumulate: int = 1
    channels_last: bool = False
    compile: bool = False
    skip: bool = False
    step_deadline: float = STEP_DEADLINE
    clip_deadline: float = CLIP_DEADLINE
    measure: Callable[[nn.Module], float] | None = None
    measure_every: int = 0
    later: int = 0


def batches_of(
    training: Training, accelerator: Accelerator, first: int, save: Callable[[int], None]
) -> tuple[Share, Iterator[Batch]]:
    """Return this process's share of every batch, and its parts of the batches from step `first` on, on its device.

    Args:
        training: the training.
        accelerator: the one of the run.
        first: the first step.
        save: writes a checkpoint of so many steps: before a reader's death is raised, what was trained is kept.
    """
    share = _share(training, accelerator, first)
    watched = Watched(training.dataset, deadline=training.clip_deadline, workers=training.num_workers)
    complete = lambda batch: training.on_device(data.to_float(batch))  # noqa: E731
    loader = loader_of(
        watched,
        batch_sampler=share,
        num_workers=training.num_workers,
        collate_fn=training.collate,
        pin_memory=accelerator.device.type == "cuda",
        persistent_workers=training.num_workers > 0,
    )
    batches = flow.prefetch_to_device(loader, complete, device=accelerator.device)
    return share, _kept(batches, training, watched, first, save)


def _kept(
    batches: Iterator[Batch], training: Training, watched: Watched, first: int, save: Callable[[int], None]
) -> Iterator[Batch]:
    """Yield batches; where a loader's worker died, save what was trained so far and name its clips."""
    number = 0

    def keep() -> None:
        done, rest = divmod(number, training.accumulate)
        if done and not rest:
            save(first + done)

    with named(watched, keep):
        for batch in batches:
            # PyTorch's handler raises wherever this thread is, also within an optimizer's step; without it the loader
            # finds within seconds that a worker is gone, when it waits for one.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            yield batch
            number += 1


def _share(training: Training, accelerator: Accelerator, first: int) -> Share:
    parts = training.accumulate
    sampler = StepSampler(
        len(training.dataset),  # type: ignore[arg-type]
        batch_size=training.optimizer.batch_size // parts,
        steps=training.optimizer.steps * parts,
        seed=training.seed,
        start=first * parts,
    )
    return Share(sampler, accelerator.process_index, accelerator.num_processes)
