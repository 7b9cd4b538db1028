"""Fine-tuning with the action loss alone, and scores of whole clips."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, tqdm
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from examples.d3d import clips, networks
from examples.d3d.config import Config, Optimizer
from examples.d3d.methods import RGB
from examples.d3d.students import train_method
from kdvideo import data
from kdvideo.training import ignore_signals

PUBLISHED = {"steps": 10_000, "batch_size": 60, "reference_batch": 60, "lr": 0.01}
"""Steps and batch are the paper's; the rate, which it does not give, is ours."""


def schedule(pretraining: Optimizer) -> Optimizer:
    """The optimiser of fine-tuning: the published one after the published pretraining, else (ours) a quarter of the
    pretraining's steps at a third of its rate."""
    if pretraining.name == "sgd":
        return dataclasses.replace(pretraining, **PUBLISHED)
    return dataclasses.replace(pretraining, steps=max(1, pretraining.steps // 4), lr=pretraining.lr / 3)


def fine_tuned(config: Config, start: Path | None, seed: int, accelerator: Accelerator) -> Path:
    """Weights of an RGB network that starts as ``start``, or fresh, with a fresh classifier; no distillation.

    ``config`` names the clips; its optimiser is that of the fine-tuning.
    """
    return train_method(dataclasses.replace(config, init_from=start), RGB, seed, accelerator)


@torch.no_grad()
def scores(
    weights: Path, config: Config, accelerator: Accelerator, protocol: data.ViewProtocol = data.single_pass
) -> Tensor:
    """Mean softmax over the views of every test clip, (clips, K), in the order of the clips.

    By default one pass over the centre crop of up to 250 frames, as in the paper.
    """
    network, info = networks.load(weights)
    _, test = clips.manifests(config)
    clips.check_classes(weights, info["classes"], test)
    network.to(accelerator.device).eval()
    dataset = data.MultiView(clips.views(config, test, None, train=False), protocol)
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    loader = DataLoader(
        Subset(dataset, list(mine)),
        batch_size=None,  # clips differ in length
        num_workers=config.num_workers,
        worker_init_fn=ignore_signals,
    )
    rows: list[tuple[int, list[float]]] = []
    for item in tqdm(loader, desc="scores of whole clips", leave=False):
        with accelerator.autocast():
            logits = network(networks.seen(network, item["rgb"].to(accelerator.device)))
        rows.append((int(item["index"]), data.mean_softmax(logits).double().tolist()))
    return torch.tensor([score for _, score in sorted(gather_object(rows))], dtype=torch.float64)
