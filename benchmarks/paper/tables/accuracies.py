"""Top-1 of the recipe's methods, alone or averaged."""

from __future__ import annotations

from accelerate import Accelerator
from torch import Tensor

from benchmarks.paper.tables.table import Measured, Row
from examples.d3d.config import Config
from examples.d3d.students import class_names, ensemble, method_scores, test_labels
from kdvideo.training import accuracy


def measure(row: Row, config: Config, seed: int, accelerator: Accelerator) -> Measured:
    """Accuracy, in per cent, of the mean softmax of the row's methods on the test clips."""
    return measured([method_scores(config, method, seed, accelerator) for method in row.of], config)


def measured(members: list[Tensor], config: Config) -> Measured:
    """The same of scores (clips, K) that are there already."""
    scores, label = ensemble(members), test_labels(config)
    right = (scores.argmax(1) == label).double()
    per_class = {
        name: 100 * float(right[label == k].mean()) for k, name in enumerate(class_names(config)) if (label == k).any()
    }
    return Measured(100 * accuracy(scores, label), config.optimizer.steps, per_class)
