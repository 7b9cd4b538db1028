"""What the losses that know the true class share: its check, and the logits with and without it.

Legend: B batch, K classes. The class axis is `dim`; all other axes are positions, each with one label.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._numbers import check_numbers, not_negative
from kdvideo._tensors import check_tensor, check_together, valid

MASK = "pass mask=labels != ignored"


def checked_labels(
    labels: Tensor, logits: Tensor, dim: int, mask: Tensor | None = None, *, otherwise: str = MASK
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


def without_target(logits: Tensor, labels: Tensor, dim: int) -> Tensor:
    """Set the logit of the true class to -inf, so that a softmax is over the other classes."""
    return logits.scatter(dim, labels, -torch.inf)


def target_against_rest(logits: Tensor, labels: Tensor, dim: int) -> Tensor:
    """Compute two logits for each position whose softmax is (p_y, 1 - p_y); never the log of a rounded difference."""
    rest = without_target(logits, labels, dim).logsumexp(dim, keepdim=True)
    return torch.cat([logits.gather(dim, labels), rest], dim)


def cross_entropy_elements(student: Tensor, weights: Tensor, dim: int) -> Tensor:
    """Compute -w log q for every class, q of the student's logits; 0 where the weight is 0, also if q is 0."""
    log_student = F.log_softmax(student, dim)
    return -weights * log_student.masked_fill(weights == 0, 0.0)


def check_weights(**weights: float) -> None:
    """Raise ValueError unless every named weight is finite and at least 0."""
    check_numbers("finite and at least 0", not_negative, **weights)
