"""Top-1 of the mean of some methods' scores."""

import pytest
import torch

from benchmarks.paper.tables import accuracies
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
def test_scores_are_averaged(monkeypatch: pytest.MonkeyPatch, of, value, per_class) -> None:
    monkeypatch.setattr(accuracies, "method_scores", lambda config, method, seed, accelerator: SCORES[method])
    monkeypatch.setattr(accuracies, "test_labels", lambda config: torch.tensor([0, 1, 1]))
    monkeypatch.setattr(accuracies, "class_names", lambda config: ["spin", "orbit", "pulse"])
    measured = accuracies.measure(Row("row", of), POCKET, 0, None)
    assert measured.value == pytest.approx(value)
    assert measured.per_class == per_class
    assert measured.steps == 400
