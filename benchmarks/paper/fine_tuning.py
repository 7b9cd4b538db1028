"""Fine-tuning with the action loss alone, and scores of whole clips."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from benchmarks.paper.lab import Lab
from benchmarks.paper.trained_networks import Trained
from examples.d3d import evaluate
from examples.d3d.config import Optimizer
from kdvideo import data

PUBLISHED = Optimizer(steps=10_000, batch_size=60, reference_batch=60, lr=0.01)
"""Steps and batch are the paper's; the rate, which it does not give, is ours."""


def schedule(pretraining: Optimizer) -> Optimizer:
    """Return the optimizer of fine-tuning.

    The published one after the published pretraining, else (ours) a quarter of the pretraining's steps at a third of
    its rate.
    """
    if pretraining.name == "sgd":
        length = {name: getattr(PUBLISHED, name) for name in ("steps", "batch_size", "reference_batch", "lr")}
        return dataclasses.replace(pretraining, **length)
    return dataclasses.replace(pretraining, steps=max(1, pretraining.steps // 4), lr=pretraining.lr / 3)


def scores(trained: Trained, lab: Lab, protocol: data.ViewProtocol = data.single_pass) -> Tensor:
    """Compute the mean softmax over the views of every test clip, (clips, K), in the order of the clips.

    By default one pass over the center crop of up to 250 frames, as in the paper.
    """
    return evaluate.scores(trained.network, trained.stream, lab.clips, lab.config, lab.accelerator, protocol=protocol)
