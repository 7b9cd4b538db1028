"""Upcasts, masks and reductions that all losses share.

Legend: B batch, K classes. The class axis of logits is `dim`; all their other axes are positions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import Reduction, check_pair, check_reduction, valid


def matched(
    student: Tensor, teacher: Tensor, *, dim: int = 1, mask: Tensor | None = None, minimum: int = 2
) -> tuple[Tensor, Tensor]:
    """Check that two tensors agree and cast half precision to float32; float64 stays.

    Args:
        student: the student's tensor.
        teacher: the teacher's tensor.
        dim: the class or channel axis, which must be there.
        mask: of valid positions; both tensors are 0 elsewhere, so that padding of nan has no gradient of nan.
        minimum: the least number of axes.

    Raises:
        ValueError: the shapes differ, there is no such axis, no element, or no floating-point dtype.
    """
    check_pair(student, teacher, dim=dim, minimum=minimum)
    student, teacher = at_least_float32(student), at_least_float32(teacher)
    if mask is None:
        return student, teacher
    positions = student.shape[: dim % student.ndim] + student.shape[dim % student.ndim + 1 :]
    keep = valid(mask, positions, student.device).unsqueeze(dim)
    return torch.where(keep, student, student.new_zeros(())), torch.where(keep, teacher, teacher.new_zeros(()))


def reduced(
    elements: Tensor,
    reduction: Reduction,
    *,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Reduce the class axis as `reduction` says and average over the valid positions; "none" reduces nothing.

    Args:
        elements: one value for each class and position.
        reduction: over the class axis.
        dim: the class axis.
        mask: as in `over_positions`; with "none" the elements of other positions are 0.
        normalizer: as in `over_positions`.

    Raises:
        ValueError: an unknown reduction, a normalizer with "none"; otherwise as `over_positions`.
    """
    check_reduction(reduction)
    if reduction == "none":
        if normalizer is not None:
            raise ValueError(
                "normalizer= divides a sum, but reduction='none' takes none: leave it out, and divide what you add up"
            )
        if mask is None:
            return elements
        shape = elements.sum(dim).shape
        return torch.where(valid(mask, shape, elements.device).unsqueeze(dim), elements, elements.new_zeros(()))
    if reduction == "mean" and mask is None and normalizer is None:
        return elements.mean()
    return over_positions(elements.mean(dim) if reduction == "mean" else elements.sum(dim), mask, normalizer)


def over_positions(values: Tensor, mask: Tensor | None = None, normalizer: float | Tensor | None = None) -> Tensor:
    """Sum the values of the valid positions and divide by `normalizer`.

    Args:
        values: one value for each position, (B, ...).
        mask: bool, or integers 0 and 1, of the same shape: True where a position counts; None: everywhere.
        normalizer: what the sum is divided by; None: the number of valid positions, or 1 where there is none. With the
            number of valid positions of the whole batch, accumulated parts of a ragged batch add up to its mean.

    Raises:
        ValueError: a mask of another shape or type, or a normalizer that is not positive.
    """
    if mask is None and normalizer is None:
        return values.mean()
    if mask is not None:
        valid_positions = valid(mask, values.shape, values.device)
        values = torch.where(valid_positions, values, values.new_zeros(()))
    if normalizer is None:
        assert mask is not None
        return values.sum() / valid_positions.sum().clamp(min=1)
    if isinstance(normalizer, Tensor) and normalizer.numel() != 1:
        raise ValueError(f"normalizer must be one number, got shape {tuple(normalizer.shape)}: pass its sum")
    if not 0 < float(normalizer) < float("inf"):
        raise ValueError(
            f"normalizer must be positive and finite, got {float(normalizer)}: pass the number of valid positions"
        )
    return values.sum() / normalizer


def squared_error(
    student: Tensor,
    teacher: Tensor,
    reduction: Reduction,
    *,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute (student - teacher)² of tensors that are `matched`, reduced."""
    if reduction == "mean" and mask is None and normalizer is None:
        return F.mse_loss(student, teacher)
    elements = F.mse_loss(student, teacher, reduction="none")
    return reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer)


def without_excluded(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Raise -inf, masked vocabulary, to the least finite number: in both networks it is no difference then.

    The gradient there is 0; that of inf - inf would be nan, also where its value is replaced later.
    """
    least = torch.finfo(student.dtype).min
    return student.clamp(min=least), teacher.clamp(min=least)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Cast half precision to float32; float64 stays."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
