"""Accuracy, confusion and spread against plain loops."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.training import accuracy, confusion_matrix, mean_and_standard_error


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=30))
@settings(deadline=None, max_examples=30)
def test_confusion_counts_pairs(pairs: list[tuple[int, int]]) -> None:
    predicted, label = (torch.tensor([pair[k] for pair in pairs], dtype=torch.long) for k in range(2))
    counts = confusion_matrix(predicted, label, 5)
    assert all(counts[i, j] == pairs.count((j, i)) for i in range(5) for j in range(5))


@pytest.mark.parametrize("bad", [-1, 3])
def test_confusion_refuses_classes_outside(bad: int) -> None:
    for pair in ([bad], [0]), ([0], [bad]):
        with pytest.raises(ValueError, match=r"0 … 2"):
            confusion_matrix(*map(torch.tensor, pair), 3)


def test_accuracy_top_k() -> None:
    scores, label = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]), torch.tensor([1, 2])
    assert accuracy(scores, label) == 0.5
    assert accuracy(scores, label, top=2) == 1.0
    with pytest.raises(ValueError, match="must be"):
        accuracy(scores, torch.tensor([1]))


@pytest.mark.parametrize(
    ("label", "top", "words"),
    [
        ([1, 2], 0, r"top must be in 1\.\.3, the number of classes, got 0"),
        ([1, 2], 9, r"top must be in 1\.\.3, .* got 9"),
        ([1, 3], 1, r"label must be integers in 0\.\.2, got \[1, 3\]"),
        ([-1, 2], 1, r"label must be integers in 0\.\.2, got \[-1, 2\]"),
        ([0.5, 1.0], 1, r"label must be integers in 0\.\.2, got \[0.5, 1.0\]"),
    ],
)
def test_accuracy_refuses_what_no_score_can_hit(label: list[float], top: int, words: str) -> None:
    """Fails when a label outside the classes counts as a wrong prediction, or `top=0` as an accuracy of 0."""
    with pytest.raises(ValueError, match=words):
        accuracy(torch.rand(2, 3), torch.tensor(label), top=top)


def test_confusion_refuses_scores() -> None:
    """Fails when torch's own error is raised."""
    with pytest.raises(ValueError, match=r"must be integers, got torch.float32 and torch.int64: argmax"):
        confusion_matrix(torch.rand(2), torch.tensor([0, 1]), 3)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
@settings(deadline=None, max_examples=30)
def test_standard_error_is_the_textbook_one(values: list[float]) -> None:
    mean, error = mean_and_standard_error(values)
    assert math.isclose(mean, statistics.fmean(values), abs_tol=1e-9)
    assert math.isclose(error, statistics.stdev(values) / math.sqrt(len(values)), rel_tol=1e-9, abs_tol=1e-9)


def test_one_value_has_no_spread() -> None:
    assert math.isnan(mean_and_standard_error([0.5])[1])
