"""What the divergences between class probabilities share: log-probabilities, mixtures, terms and the object.

Legend: p the teacher's probabilities, q the student's.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import Reduction, check_classes, check_reduction, check_temperature
from kdvideo._numbers import check_numbers
from kdvideo._tensors import matched
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss


def log_probabilities(
    student: Tensor, teacher: Tensor, *, temperature: float, dim: int, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Check two tensors of logits and return log q = log softmax(s / T) and log p = log softmax(t / T)."""
    check_temperature(temperature)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    return F.log_softmax(student / temperature, dim), F.log_softmax(teacher / temperature, dim)


def kl_terms(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Compute p (log p - log q) for every class; 0 where p = 0."""
    impossible = log_p == -torch.inf
    # Filled before the difference: exp(-inf) · (-inf - x) is nan, and so is its gradient.
    log_p, log_q = log_p.masked_fill(impossible, 0.0), log_q.masked_fill(impossible, 0.0)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).masked_fill(impossible, 0.0)


def log_mixture(log_p: Tensor, log_q: Tensor, weight: float) -> Tensor:
    """Compute log(w p + (1 - w) q), 0 < w < 1; any finite number where p = q = 0, whose terms are left out."""
    impossible = (log_p == -torch.inf) & (log_q == -torch.inf)
    # The gradient of logaddexp(-inf, -inf) is nan.
    log_p, log_q = log_p.masked_fill(impossible, 0.0), log_q.masked_fill(impossible, 0.0)
    return torch.logaddexp(log_p + math.log(weight), log_q + math.log1p(-weight))


class DivergenceLoss(LogitLoss):
    """A divergence between softened class probabilities: a subclass defines `between`.

    Args:
        temperature: T > 0.
        reduction: over the class axis.
        dim: the class axis.
        name: of the term.
    """

    def __init__(
        self, *, temperature: float = 1.0, reduction: Reduction = "sum", dim: int = 1, name: str | None = None
    ) -> None:
        super().__init__(dim=dim, name=name)
        check_temperature(temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.reduction: Reduction = reduction

    def options(self, given: Given) -> dict[str, Any]:
        """Return what all divergences take."""
        return {
            "temperature": self.temperature,
            "reduction": self.reduction,
            "dim": self.dim,
            "mask": given.mask,
            "normalizer": given.normalizer,
        }


class SkewedLoss(DivergenceLoss):
    """A divergence from a mixture of both: a subclass defines `between`.

    Args:
        skew: λ in [0, 1).
        temperature: T > 0.
        reduction: over the class axis.
        dim: the class axis.
        name: of the term.
    """

    def __init__(
        self,
        *,
        skew: float = 0.1,
        temperature: float = 1.0,
        reduction: Reduction = "sum",
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(temperature=temperature, reduction=reduction, dim=dim, name=name)
        check_skew(skew)
        self.skew = skew

    def options(self, given: Given) -> dict[str, Any]:
        """Return what all divergences take, and the skew."""
        return super().options(given) | {"skew": self.skew}


def check_skew(skew: float) -> None:
    """Raise ValueError unless 0 ≤ λ < 1."""
    advice = "0 is no mixture, 1 would leave nothing to learn"
    check_numbers("in [0, 1)", lambda value: 0 <= value < 1, advice, skew=skew)
