"""Accuracy, the confusion matrix, and the standard error of a mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def confusion_matrix(predicted: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count the clips of class i that were predicted as class j: C[i, j].

    Args:
        predicted: predicted classes, integer (B,), in 0 … K-1.
        label: true classes, integer (B,), in 0 … K-1.
        num_classes: K.

    Returns:
        The counts, integer (K, K).

    Raises:
        ValueError: different lengths, no integers, or a class outside 0 … K-1.

    Examples:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), 2)
        tensor([[1, 1],
                [0, 1]])
    """
    if predicted.shape != label.shape or predicted.dim() != 1:
        raise ValueError(f"predicted and label must be (B,), got {tuple(predicted.shape)} and {tuple(label.shape)}")
    found = torch.cat((predicted, label))
    if found.is_floating_point():
        raise ValueError(f"predicted and label must be integers, got {predicted.dtype} and {label.dtype}: argmax(1)")
    if len(found) and not (int(found.min()) >= 0 and int(found.max()) < num_classes):
        raise ValueError(f"classes must be in 0 … {num_classes - 1}, got {int(found.min())} … {int(found.max())}")
    return torch.bincount(label * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(scores: Tensor, label: Tensor, *, top: int = 1) -> float:
    """Compute the share of clips whose label is among the highest scores.

    Args:
        scores: logits or probabilities, (B, K), B ≥ 1.
        label: true classes, integer (B,).
        top: how many of the highest scores count, 1 to K.

    Returns:
        A share in [0, 1].

    Raises:
        ValueError: other shapes, an empty batch, `top` outside 1 … K, or a label that is no integer in 0 … K - 1.

    Examples:
        >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
        0.5
    """
    if scores.dim() != 2 or scores.shape[:1] != label.shape or not len(label):
        shapes = f"{tuple(scores.shape)} and {tuple(label.shape)}"
        raise ValueError(f"scores and label must be (B, K) and (B,) with B ≥ 1, got {shapes}")
    classes = scores.shape[1]
    if not 1 <= top <= classes:
        raise ValueError(f"top must be in 1..{classes}, the number of classes, got {top}")
    if label.is_floating_point() or not bool(((label >= 0) & (label < classes)).all()):
        raise ValueError(f"label must be integers in 0..{classes - 1}, got {sorted(set(label.tolist()))[:10]}")
    return float((scores.topk(top, dim=1).indices == label[:, None]).any(1).double().mean())


def mean_and_standard_error(values: Sequence[float]) -> tuple[float, float]:
    """Compute the mean x̄ of n values and its standard error s/√n, with s² = Σ(x − x̄)²/(n − 1).

    Args:
        values: at least one number.

    Returns:
        (mean, standard error); the error of one value is NaN.

    Raises:
        ValueError: no values.

    Examples:
        >>> mean_and_standard_error([1.0, 2.0, 3.0])  # doctest: +ELLIPSIS
        (2.0, 0.57735026918962...)
    """
    if not values:
        raise ValueError("values must hold at least one number, got none")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
