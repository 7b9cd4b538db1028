"""Checks and products of losses whose student and teacher may differ in width.

Legend: B batch, C channels, P positions, that is all axes but these two.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from kdvideo._checks import check_tensors
from kdvideo._tensors import at_least_float32

Axes = Callable[[torch.Size], tuple[int, ...]]


def paired(
    student: Tensor, teacher: Tensor, *, agree: str, axes: Axes, samples: int = 1, minimum: int = 2
) -> tuple[Tensor, Tensor]:
    """Check that two tensors agree in what they must and cast half precision to float32; float64 stays.

    Args:
        student: the student's tensor.
        teacher: the teacher's tensor.
        agree: what must agree, in words.
        axes: the lengths that must agree, of a shape.
        samples: the least batch.
        minimum: the least number of axes.

    Raises:
        ValueError: what must agree differs, the batch is too small, no element, or no floating-point dtype.
    """
    check_tensors(student, teacher)
    shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise ValueError(f"expected floating-point tensors, got {student.dtype} and {teacher.dtype}")
    if min(student.ndim, teacher.ndim) < minimum:
        raise ValueError(f"expected tensors of at least {minimum} axes, batch and channels first, got {shapes}")
    if axes(student.shape) != axes(teacher.shape):
        raise ValueError(f"student and teacher must agree in {agree}, got {shapes}: nothing is broadcast or resized")
    if student.numel() == 0 or teacher.numel() == 0:
        raise ValueError(f"expected non-empty tensors, got {shapes}")
    if student.shape[0] < samples:
        raise ValueError(
            f"a relation between samples needs at least {samples} samples, got a batch of {student.shape[0]}: it "
            "would be the same in every network; use a larger batch, or drop the last incomplete one"
        )
    return at_least_float32(student), at_least_float32(teacher)


def paired_samples(student: Tensor, teacher: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Check that the batches agree and flatten every sample: (B, D) and (B, E)."""
    student, teacher = paired(student, teacher, agree="the batch", axes=lambda shape: (shape[0],), samples=samples)
    return rearrange(student, "b ... -> b (...)"), rearrange(teacher, "b ... -> b (...)")


def paired_positions(student: Tensor, teacher: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Check that batch and positions agree, whatever the channels; at least 2 positions."""
    check_tensors(student, teacher)
    check_dim(student, dim)
    check_dim(teacher, dim)
    student, teacher = paired(
        student,
        teacher,
        agree="the batch and all positions",
        axes=lambda shape: (*shape[: dim % len(shape)], *shape[dim % len(shape) + 1 :]),
    )
    check_positions(student, dim)
    return student, teacher


def check_dim(tensor: Tensor, dim: int) -> None:
    """Raise ValueError unless `dim` is an axis, and not that of the batch."""
    if not isinstance(dim, int) or not -tensor.ndim <= dim < tensor.ndim or dim % tensor.ndim == 0:
        raise ValueError(f"dim must name the channel axis of shape {tuple(tensor.shape)}, got {dim!r}")


def check_positions(tensor: Tensor, dim: int) -> None:
    """Raise ValueError for a single position, where what is normalized over positions is a constant."""
    if tensor.numel() == tensor.shape[0] * tensor.shape[dim]:
        raise ValueError(
            f"expected a map of at least 2 positions beside channel axis {dim}, got shape {tuple(tensor.shape)}: use "
            "a loss for vectors, as feature_mse or feature_cosine"
        )


def channel_maps(tensor: Tensor, dim: int) -> Tensor:
    """Bring a feature to (B, C, P)."""
    return rearrange(tensor.movedim(dim, 1), "b c ... -> b c (...)")


def unit(tensor: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Divide by the Euclidean norm over `dim`; a zero stays zero and has a zero gradient, never nan."""
    square = tensor.square().sum(dim, keepdim=True)
    zero = square == 0
    return torch.where(zero, 0.0, tensor / torch.where(zero, 1.0, square).sqrt())


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two (batches of) matrices in their own precision, also inside autocast."""
    with torch.autocast(left.device.type, enabled=False):
        return left @ right


def gram(rows: Tensor) -> Tensor:
    """Compute the inner products between all rows, (..., N, D) to (..., N, N)."""
    return product(rows, rows.mT)
