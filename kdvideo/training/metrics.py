"""Accuracy, confusion and spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def confusion_matrix(predicted: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Counts C[i, j] of clips of class i that were predicted as class j; integer (K,K).

    Raises:
        ValueError: different lengths, or a class outside 0 … num_classes-1.

    Examples:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
        tensor([[1, 1],
                [0, 1]])
    """
    if predicted.shape != label.shape or predicted.dim() != 1:
        raise ValueError(f"predicted {tuple(predicted.shape)} and label {tuple(label.shape)} must be equal vectors")
    if len(label) and not all(int(x.min()) >= 0 and int(x.max()) < num_classes for x in (predicted, label)):
        raise ValueError(f"classes must lie in 0 … {num_classes - 1}")
    return torch.bincount(label * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(scores: Tensor, label: Tensor, *, top: int = 1) -> float:
    """Share of rows of ``scores`` (B,K) whose label is among the ``top`` highest classes, in [0, 1].

    Examples:
        >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
        0.5
    """
    if scores.dim() != 2 or scores.shape[:1] != label.shape or not len(label):
        raise ValueError(f"scores {tuple(scores.shape)} and label {tuple(label.shape)} must be (B,K) and (B,), B ≥ 1")
    return float((scores.topk(top, dim=1).indices == label[:, None]).any(1).double().mean())


def mean_and_standard_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean x̄ and its standard error s/√n with s² = Σ(x−x̄)²/(n−1); the error of one value is NaN.

    Examples:
        >>> mean_and_standard_error([1.0, 2.0, 3.0])  # doctest: +ELLIPSIS
        (2.0, 0.57735026918962...)
    """
    if not values:
        raise ValueError("no values to average")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
