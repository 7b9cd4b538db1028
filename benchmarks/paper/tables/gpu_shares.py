"""How a published batch is shared out among GPUs of six clips each."""

from __future__ import annotations

import dataclasses

from examples.d3d.config import Config

CLIPS_PER_GPU = 6  # of the paper


def on_gpus(config: Config, gpus: int) -> Config:
    """Return the settings for that many GPUs, with the same batch."""
    return dataclasses.replace(config, gradient_accumulation_steps=accumulation(config, gpus))


def accumulation(config: Config, gpus: int) -> int:
    """Return the number of parts into which a GPU's share of the batch is cut, so that each holds 6 clips.

    Raises:
        ValueError: the batch does not divide that way.
    """
    batch = config.optimizer.batch_size
    if gpus not in fitting(batch):
        wanted = f"one of {fitting(batch)}, which share a batch of {batch} in parts of {CLIPS_PER_GPU} clips"
        raise ValueError(f"--gpus must be {wanted}, got {gpus}")
    return batch // (gpus * CLIPS_PER_GPU)


def fitting(batch: int) -> list[int]:
    """Return the numbers of GPUs that can share a batch."""
    return [n for n in range(1, batch // CLIPS_PER_GPU + 1) if batch % (n * CLIPS_PER_GPU) == 0]
