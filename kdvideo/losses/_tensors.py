"""Checks, upcasts and reductions that all losses share."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

Reduction = Literal["mean", "sum", "none"]


def matched(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Check that two tensors agree and cast half precision to float32; float64 stays.

    Raises:
        ValueError: the shapes differ, or there is no class axis 1, no element, or no floating-point dtype.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ in shape; nothing is "
            "broadcast: give Student a projector (kdvideo.projectors) where a feature differs"
        )
    if student.ndim < 2 or student.numel() == 0:
        raise ValueError(f"expected a non-empty (batch, classes, ...) tensor, got shape {tuple(student.shape)}")
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise ValueError(f"expected floating-point tensors, got {student.dtype} and {teacher.dtype}")
    return _at_least_float32(student), _at_least_float32(teacher)


def reduced(elements: Tensor, reduction: Reduction) -> Tensor:
    """Reduce axis 1 as `reduction` says and take the mean over the rest; "none" reduces nothing."""
    check_reduction(reduction)
    if reduction == "none":
        return elements
    return elements.mean() if reduction == "mean" else elements.sum(1).mean()


def squared_error(student: Tensor, teacher: Tensor, reduction: Reduction) -> Tensor:
    """Compute (student - teacher)², reduced."""
    student, teacher = matched(student, teacher)
    if reduction == "mean":
        return F.mse_loss(student, teacher)
    return reduced(F.mse_loss(student, teacher, reduction="none"), reduction)


def check_reduction(reduction: str) -> None:
    """Raise ValueError unless the reduction is a known one."""
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of {get_args(Reduction)}, got {reduction!r}")


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
