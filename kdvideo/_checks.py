"""Checks of tensors, masks, labels, devices and options that all losses share."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from kdvideo._hints import kind
from kdvideo._numbers import check_numbers, positive

Reduction = Literal["mean", "sum", "none"]


def check_pair(student: Tensor, teacher: Tensor, *, dim: int = 1, minimum: int = 2) -> None:
    """Raise ValueError unless two tensors agree; arguments as in `matched`."""
    check_tensors(student, teacher)
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher must have one shape, got {tuple(student.shape)} and {tuple(teacher.shape)}; nothing "
            f"is broadcast: {_advice(student, teacher)}"
        )
    if student.ndim < minimum or student.numel() == 0:
        advice = "Regression takes outputs (batch,)" if student.ndim < minimum else "skip an empty batch"
        shape = tuple(student.shape)
        raise ValueError(f"expected a non-empty (batch, classes, ...) tensor, got shape {shape}: {advice}")
    check_axis(student, dim)
    if not (student.is_floating_point() and teacher.is_floating_point()):
        raise ValueError(f"expected floating-point tensors, got {student.dtype} and {teacher.dtype}: tensor.float()")


def check_axis(tensor: Tensor, dim: int) -> None:
    """Raise ValueError unless `dim` is an axis."""
    if not isinstance(dim, int) or not -tensor.ndim <= dim < tensor.ndim:
        raise ValueError(f"dim must name an axis of shape {tuple(tensor.shape)}, got {dim!r}")


def _advice(student: Tensor, teacher: Tensor) -> str:
    if student.ndim == teacher.ndim and student.ndim and student.shape[0] != teacher.shape[0]:
        return f"these are {student.shape[0]} and {teacher.shape[0]} samples, pass the outputs of one batch"
    projector = "give Student a projector (kdvideo.projectors), kd.projectors.infer finds which"
    if student.ndim > 3 or student.ndim != teacher.ndim:  # maps and clips; logits are (B, K) or (B, N, K)
        return projector
    return f"of logits name the common classes (kdvideo.losses.common_classes); for features {projector}"


def check_tensors(student: Tensor, teacher: Tensor) -> None:
    """Raise ValueError unless both are tensors, on one device."""
    if not (isinstance(student, Tensor) and isinstance(teacher, Tensor)):
        raise ValueError(
            f"student and teacher must be tensors, got {kind(student)} and {kind(teacher)}: pass output.logits or "
            "output.features[role] of an Output, torch.as_tensor(x) of an array"
        )
    if student.device != teacher.device:
        raise ValueError(
            f"student and teacher must be on one device, got {student.device} and {teacher.device}: move the teacher, "
            f"teacher.to({str(student.device)!r}), or what a TeacherCache reads, device={str(student.device)!r}"
        )


def check_tensor(tensor: Tensor, name: str) -> None:
    """Raise ValueError unless an argument is a tensor."""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} must be a tensor, got {kind(tensor)}: pass torch.as_tensor({name})")


def check_device(device: torch.device | str | int) -> torch.device:
    """Return a device; ValueError unless torch knows it, and this machine has one."""
    try:
        known = torch.device(device)
        torch.empty(0, device=known)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device must be one of this machine, got {device!r}: 'cpu', or 'cuda' with a GPU") from error
    return known


def check_dtype(dtype: torch.dtype) -> None:
    """Raise ValueError unless it is a floating-point dtype."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype must be a torch.dtype, got {dtype!r}: one of floating point, as torch.bfloat16")


def check_together(tensor: Tensor, name: str, device: torch.device) -> None:
    """Raise ValueError unless an argument is on the device of the outputs."""
    if tensor.device != device:
        raise ValueError(
            f"{name} must be on the device of the outputs, {device}, got {tensor.device}: {name}.to({str(device)!r})"
        )


def check_classes(logits: Tensor, dim: int) -> None:
    """Raise ValueError for a single class, whose softmax is 1 whatever the logit."""
    if logits.shape[dim] < 2:
        raise ValueError(
            f"a softmax needs at least 2 classes on axis {dim}, got 1 in shape {tuple(logits.shape)}: use a loss for "
            "binary labels (BinaryKD), or another dim"
        )


def valid(mask: Tensor, shape: torch.Size, device: torch.device) -> Tensor:
    """Check a mask of valid positions, for tensors of a device, and return it as bool."""
    check_tensor(mask, "mask")
    check_together(mask, "mask", device)
    if mask.shape != shape:
        raise ValueError(f"mask must have one entry for each position, {tuple(shape)}, got {tuple(mask.shape)}")
    if mask.is_floating_point():
        raise ValueError(f"mask must be bool, or integers 0 and 1, got {mask.dtype}: pass mask.bool()")
    return mask.bool()


def checked_labels(
    labels: Tensor,
    logits: Tensor,
    dim: int,
    mask: Tensor | None = None,
    *,
    otherwise: str = "pass mask=labels != ignored",
) -> Tensor:
    """Check the true classes of logits and return them with a class axis of size 1, as `gather` takes them.

    Args:
        labels: integers from 0 to K - 1, one for each position; any value where the mask is False.
        logits: of the student, already checked.
        dim: the class axis.
        mask: of valid positions.
        otherwise: what to do with a position that has no class.

    Raises:
        ValueError: labels of another shape or device, of no integer dtype, or out of range.
    """
    check_tensor(labels, "labels")
    shape, classes = logits.select(dim, 0).shape, logits.shape[dim]
    if labels.shape != shape:
        raise ValueError(f"labels must have one class for each position, {tuple(shape)}, got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers, the numbers of the true classes, got {labels.dtype}")
    check_together(labels, "labels", logits.device)
    labels = labels.long()
    if mask is not None:
        labels = labels.where(valid(mask, shape, labels.device), labels.new_zeros(()))
    # A compiled graph cannot look at values; there gather itself refuses them.
    if not torch.compiler.is_compiling() and ((labels < 0) | (labels >= classes)).any():
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, got {labels.min().item()} to {labels.max().item()}: where a "
            f"position has no class, {otherwise}"
        )
    return labels.unsqueeze(dim)


def check_mask_values(mask: Tensor) -> None:
    """Raise ValueError for an integer mask that holds other numbers than 0 and 1; this waits for the device."""
    if mask.dtype != torch.bool and any_seen((mask != 0) & (mask != 1)):
        raise ValueError(
            f"mask must be bool, or integers 0 and 1, got {mask.min().item()} to {mask.max().item()}: of labels pass "
            "labels != ignored, such as -100"
        )


def any_seen(wrong: Tensor) -> bool:
    """Tell whether an entry is True; False where there are no values to look at, as in a compiled graph or vmap."""
    if torch.compiler.is_compiling() or type(wrong) is not Tensor or wrong.is_meta:
        return False
    try:
        return bool(wrong.any())
    except RuntimeError:
        return False


def check_reduction(reduction: str) -> None:
    """Raise ValueError unless the reduction is a known one."""
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction must be one of {get_args(Reduction)}, got {reduction!r}")


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is positive and finite."""
    check_numbers("positive and finite", positive, temperature=temperature)
