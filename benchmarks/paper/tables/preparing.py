"""The flow of a scale's clips, computed on everything that the machine has; a training by itself would use one core."""

from __future__ import annotations

import os

import torch

from benchmarks.paper.lab import Lab
from examples.d3d.data import prepare

GPU_READERS = 4  # processes that read clips for one GPU


def prepare_flow(lab: Lab) -> None:
    """Fill the stores of the training and the test clips, or check those that were extracted before.

    Several processes share the work by themselves, when the first training needs it.

    Raises:
        ClipError: the flow of a clip cannot be computed.
        ValueError: extracted flow is not that of all clips, made with the laboratory's settings.
    """
    lab.clips.check_flow(lab.accelerator)
    if lab.accelerator.num_processes > 1 or not lab.clips.stores_flow or lab.clips.flow_dir:
        return
    workers, devices = workers_and_devices()
    for manifest in (lab.clips.train, lab.clips.test):
        prepare(lab.clips, manifest, lab.accelerator, workers=workers, devices=devices)


def workers_and_devices() -> tuple[int, tuple[str, ...]]:
    """Return the number of worker processes for this machine, and their devices in turn."""
    cores = os.cpu_count() or 1
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return min(cores, GPU_READERS * count), tuple(f"cuda:{k}" for k in range(count))
    return (0 if cores == 1 else cores), ("cpu",)
