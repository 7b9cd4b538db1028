"""How a published batch is shared out among GPUs, each of which holds at most the paper's six clips at a time."""

from __future__ import annotations

import dataclasses

from examples.d3d.config import Config

CLIPS_PER_GPU = 6  # of the paper


def on_gpus(config: Config, gpus: int) -> Config:
    """Return the settings for that many GPUs, with the same batch."""
    return dataclasses.replace(config, gradient_accumulation_steps=accumulation(config, gpus))


def accumulation(config: Config, gpus: int) -> int:
    """Return the number of parts into which a GPU's share of the batch is cut: the fewest of at most 6 clips.

    Raises:
        ValueError: the number of GPUs does not divide the batch.
    """
    batch = config.optimizer.batch_size
    if gpus < 1 or batch % gpus:
        near = [n for n in range(1, batch + 1) if batch % n == 0]
        raise ValueError(f"--gpus must divide the batch of {batch}, as {near} do, got {gpus}")
    share = batch // gpus
    return next(parts for parts in range(1, share + 1) if share % parts == 0 and share // parts <= CLIPS_PER_GPU)
