"""What the losses that know the true class share: the logits with and without it.

Legend: B batch, K classes. The class axis is `dim`; all other axes are positions, each with one label.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._numbers import check_numbers, not_negative


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
