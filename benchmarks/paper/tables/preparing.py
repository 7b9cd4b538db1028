"""The flow of a scale's clips, computed on everything that the machine has; the recipe itself would use one core."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator

from examples.d3d import clips
from examples.d3d.config import Config
from kdvideo import extraction

GPU_READERS = 4  # processes that read clips for one GPU


def prepare_flow(config: Config, accelerator: Accelerator) -> None:
    """Fill the stores of the training and the test clips; a clip that fails is named when a training needs it.

    Several processes share the work by themselves, when the first training needs it.
    """
    if accelerator.num_processes == 1 and config.stores_flow:
        for manifest in clips.manifests(config):
            store = clips.flow_store(config, manifest)
            if all(clip in store for clip in manifest["clip"]):
                continue
            workers, devices = _machine()
            accelerator.print(f"flow of {len(manifest)} clips on {workers} x {devices[0]}")
            side = config.input.short_side
            extraction.extract(manifest, store, short_side=side, workers=workers, devices=devices, progress=True)


def _machine() -> tuple[int, tuple[str, ...]]:
    """(workers, their devices in turn)."""
    cores = os.cpu_count() or 1
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return min(cores, GPU_READERS * count), tuple(f"cuda:{k}" for k in range(count))
    return (0 if cores == 1 else cores), ("cpu",)
