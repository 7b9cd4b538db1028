"""Softened predictions as rows of one matrix, for losses that compare examples or classes with each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import check_classes, check_temperature, valid
from kdvideo._tensors import matched


def predictions(
    student: Tensor, teacher: Tensor, temperature: float, dim: int, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute softmax(z / T) of both networks and which rows count.

    Args:
        student: logits; every position becomes a row.
        teacher: logits of the same shape.
        temperature: T > 0.
        dim: the class axis.
        mask: of valid positions.

    Returns:
        Two matrices (N, K) of N positions and K classes, and (N, 1) of 1 where a position is valid and 0 elsewhere.
    """
    check_temperature(temperature)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    p, q = (F.softmax(z / temperature, dim).movedim(dim, -1).flatten(0, -2) for z in (teacher, student))
    if mask is None:
        return q, p, q.new_ones(q.shape[0], 1)
    return q, p, valid(mask, student.select(dim, 0).shape, student.device).reshape(-1, 1).to(q.dtype)


def correlation_distance(student: Tensor, teacher: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Compute 1 - Pearson's correlation along an axis of two matrices.

    A vector that is constant, up to rounding, has no correlation: where the teacher's is, there is nothing to match
    and the distance is 0; where only the student's is, it is 1. Neither has a gradient.

    Args:
        student: (N, K).
        teacher: (N, K).
        weights: 0 or 1 for every entry, that broadcast to (N, K): which entries count.
        axis: along which the vectors lie.
    """
    (student, _), (teacher, nothing) = (_unit(matrix, weights, axis) for matrix in (student, teacher))
    return (1 - (student * teacher).sum(axis)).masked_fill(nothing.squeeze(axis), 0.0)


def _unit(matrix: Tensor, weights: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    weights = weights.expand_as(matrix)
    count = weights.sum(axis, keepdim=True).clamp(min=1)
    centered = (matrix - (weights * matrix).sum(axis, keepdim=True) / count) * weights
    largest = centered.detach().abs().amax(axis, keepdim=True)
    rounding = 16 * torch.finfo(matrix.dtype).eps * (weights * matrix).detach().abs().amax(axis, keepdim=True)
    constant = largest <= rounding
    # Scaled first: the square of a rare class's probability would underflow.
    scaled = (centered / largest.masked_fill(constant, 1.0)).masked_fill(constant, 0.0)
    return scaled / scaled.square().sum(axis, keepdim=True).masked_fill(constant, 1.0).sqrt(), constant
