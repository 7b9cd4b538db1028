"""Top-1 of the methods of the tables, alone or averaged."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from benchmarks.paper.lab import Lab
from benchmarks.paper.tables.table import Measured, Row
from benchmarks.paper.trained_networks import Trained
from kdvideo.training import accuracy


def measure(row: Row, lab: Lab, seed: int) -> Measured:
    """Compute the accuracy, in per cent, of the mean softmax of the row's methods on the test clips."""
    trained = [lab.train(method, seed) for method in row.of]
    measured = of_scores([lab.scores(one) for one in trained], lab, trained)
    return measured._replace(steps=max(lab.settings(method).optimizer.steps for method in row.of))


def of_scores(members: list[Tensor], lab: Lab, trained: Iterable[Trained] = ()) -> Measured:
    """Compute the same of scores (clips, K) that are there already; members are averaged, as in the paper."""
    scores, label = torch.stack(members).mean(0), lab.labels
    right = (scores.argmax(1) == label).double()
    per_class = {
        name: 100 * float(right[label == k].mean()) for k, name in enumerate(lab.clips.classes) if (label == k).any()
    }
    trainings = {name: about for one in trained for name, about in one.trainings.items()}
    return Measured(100 * accuracy(scores, label), lab.config.optimizer.steps, per_class, trainings)
