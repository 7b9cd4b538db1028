"""Top-1 of the mean of some methods' scores."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from benchmarks.paper import accuracies
from benchmarks.paper.tables.table import Row
from examples.d3d.config import POCKET

SCORES = {
    "a": torch.tensor([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0]]),
    "b": torch.tensor([[0.3, 0.7, 0.0], [0.1, 0.9, 0.0], [0.2, 0.8, 0.0]]),
}


@pytest.mark.parametrize(
    ("of", "value", "per_class"),
    [
        (("a",), 200 / 3, {"spin": 100.0, "orbit": 50.0}),
        (("b",), 200 / 3, {"spin": 0.0, "orbit": 100.0}),
        (("a", "b"), 100.0, {"spin": 100.0, "orbit": 100.0}),
    ],
)
def test_scores_are_averaged(of, value, per_class) -> None:
    longer = dataclasses.replace(
        POCKET, optimizer=dataclasses.replace(POCKET.optimizer, steps=POCKET.optimizer.steps + 1)
    )
    settings = {"a": POCKET, "b": longer}
    lab = SimpleNamespace(
        config=POCKET,
        settings=lambda method: settings[method],
        clips=SimpleNamespace(classes=["spin", "orbit", "pulse"]),
        labels=torch.tensor([0, 1, 1]),
        train=lambda method, seed: SimpleNamespace(name=method, seed=seed, trainings={method: seed}),
        scores=lambda trained: SCORES[trained.name] if trained.seed == 7 else pytest.fail("another seed"),
    )
    measured = accuracies.measure(Row("row", of), lab, 7)
    assert measured.value == pytest.approx(value)
    assert measured.per_class == per_class
    assert measured.trainings == dict.fromkeys(of, 7)
    assert measured.steps == (POCKET.optimizer.steps + 1 if "b" in of else POCKET.optimizer.steps)
