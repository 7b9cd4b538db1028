"""How a published batch is shared out among GPUs, each of which holds at most the paper's six clips at a time."""

from __future__ import annotations

import dataclasses
import math

from examples.d3d.config import Config

CLIPS_PER_GPU = 6  # of the paper


def on_gpus(config: Config, gpus: int) -> Config:
    """Return the settings for that many GPUs, with the same batch.

    It is cut into the fewest equal parts of which no GPU has more than 6 clips; a GPU may have one less than another.

    Raises:
        ValueError: fewer than one GPU.
    """
    if gpus < 1:
        raise ValueError(f"--gpus must be at least 1, got {gpus}")
    batch = config.optimizer.batch_size
    parts = (n for n in range(1, batch + 1) if batch % n == 0 and math.ceil(batch / n / gpus) <= CLIPS_PER_GPU)
    return dataclasses.replace(config, gradient_accumulation_steps=next(parts))
