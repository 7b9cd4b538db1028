"""Train any method of methods.py, with the networks that it builds on, and measure it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from examples.d3d import clips, networks
from examples.d3d.config import Config
from examples.d3d.evaluate import cached_scores
from examples.d3d.methods import FLOW, FLOW_PREDICTION, Method
from examples.d3d.runs import Run
from examples.d3d.train import fit


def train_method(config: Config, method: Method, seed: int, accelerator: Accelerator) -> Path:
    """The file with the method's bare network, which takes RGB (or flow) alone; what it builds on is trained first.

    What was trained before is not trained again, and a training that was stopped goes on where it was. A teacher has
    the student's seed, except where it sees the same stream: it is then that of the next seed, since one of the same
    seed began with the student's own weights and saw its very batches. ``--teacher`` stands for S3D-G Flow,
    ``init_from`` starts the method's own network.

    Raises:
        ValueError: the file of ``--teacher`` or ``init_from`` does not fit.
    """
    if method == FLOW and config.teacher:
        return _given(config, config.teacher)
    if method.predicted_flow and method.teacher:
        return _train_on_predicted_flow(config, method, seed, accelerator)
    train, _ = clips.manifests(config)
    if method.distills and config.distill_weight * method.distill_weight == 0:
        method = dataclasses.replace(method, teacher=None, layer="logits")
    taught_by = None
    if method.teacher:
        taught_by = _below(config, method.teacher, seed + (method.teacher.stream == method.stream), accelerator)
    return fit(Run(config, accelerator, method.stream, seed, train, taught_by, method=method))


def _given(config: Config, weights: Path) -> Path:
    train, _ = clips.manifests(config)
    _, info = networks.load(weights)
    clips.check_flow(weights, info["input"], config)
    clips.check_classes(weights, info["classes"], train)
    return weights


def _below(config: Config, method: Method, seed: int, accelerator: Accelerator) -> Path:
    """A network on which another one builds."""
    return train_method(dataclasses.replace(config, init_from=None), method, seed, accelerator)


def _train_on_predicted_flow(config: Config, method: Method, seed: int, accelerator: Accelerator) -> Path:
    """The flow prediction alone in the first part of the steps, then all of it, slower: as many steps as other methods.

    At the rate of a fresh network the action loss soon drives predictions to where truncated flow has no gradient.
    """
    if config.init_from:
        raise ValueError(f"--init-from does not work with {method.name}, which starts with networks of its own")
    assert method.teacher is not None
    schedule = config.optimizer
    first = max(1, round(method.prediction_first * schedule.steps))
    early = dataclasses.replace(config, optimizer=dataclasses.replace(schedule, steps=first))
    rest, rate = max(1, schedule.steps - first), method.end_to_end_rate * schedule.lr
    late = dataclasses.replace(config, optimizer=dataclasses.replace(schedule, steps=rest, lr=rate))
    temporal = _below(config, method.teacher, seed, accelerator)
    predictor = train_method(early, FLOW_PREDICTION, seed, accelerator)
    train, _ = clips.manifests(config)
    run = Run(late, accelerator, method.stream, seed, train, temporal, method=method, predictor=predictor)
    return fit(run)


def method_scores(config: Config, method: Method, seed: int, accelerator: Accelerator) -> Tensor:
    """Mean softmax over the views of every test clip, (clips, K); trained and computed unless that was done before."""
    weights = train_method(config, method, seed, accelerator)
    _, test = clips.manifests(config)
    store = clips.prepare(config, test, accelerator, what="test clips") if method.stream == "flow" else None
    return cached_scores(weights, config, test, store, accelerator)


def ensemble(scores: list[Tensor]) -> Tensor:
    """The mean of the members' scores, (clips, K), as in the paper's Tables 2, 3, 4 and 8."""
    return torch.stack(scores).mean(0)


def test_labels(config: Config) -> Tensor:
    """The true class of every test clip, (clips,)."""
    return torch.tensor(clips.manifests(config)[1]["label"])


def class_names(config: Config) -> list[str]:
    """The classes in the order of the scores."""
    names: list[str] = clips.manifests(config)[1].features["label"].names
    return names
