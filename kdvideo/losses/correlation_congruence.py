"""Correlation congruence: a Gaussian kernel between the samples of a batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._numbers import check_count, check_numbers, positive
from kdvideo.losses._given import Given
from kdvideo.losses._relations import gram, paired_samples, unit
from kdvideo.losses.kinds import FeatureLoss, Roles


def correlation_congruence(student: Tensor, teacher: Tensor, *, gamma: float = 0.4, order: int = 2) -> Tensor:
    """Compute the squared difference between the kernel matrices of a batch.

    L = 1/B² Σ_ij (k(s_i, s_j) − k(t_i, t_j))², with k(x, y) = Σ_{p=0}^{P} exp(−2γ) (2γ)^p/p! · (x·y)^p of samples of
    unit length: the Taylor polynomial of exp(−γ ‖x − y‖²).

    Args:
        student: embedding, (B, C) or any (B, ...), which is flattened; B ≥ 2.
        teacher: embedding of the same batch; its other axes may differ.
        gamma: γ > 0; 0.4 in the paper.
        order: P ≥ 1, of the polynomial; 2 in the paper.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: another batch, a single sample, gamma or order that is not positive, no element, or integer
            tensors.

    Examples:
        >>> import torch
        >>> student = torch.eye(3)
        >>> correlation_congruence(student, 7 * student).item()
        0.0

    Source:
        Peng et al., "Correlation Congruence for Knowledge Distillation", ICCV 2019, arXiv 1904.01802.
    """
    _check(gamma, order)
    student, teacher = paired_samples(student, teacher, samples=2)
    return F.mse_loss(_kernel(student, gamma, order), _kernel(teacher, gamma, order))


def _kernel(samples: Tensor, gamma: float, order: int) -> Tensor:
    cosines = gram(unit(samples))
    # Horner's scheme for the polynomial in 2γ·cosine.
    total = torch.ones_like(cosines)
    for p in range(order, 0, -1):
        total = 1 + total * cosines * (2 * gamma / p)
    return math.exp(-2 * gamma) * total


def _check(gamma: float, order: int) -> None:
    check_numbers("positive and finite", positive, gamma=gamma)
    check_count(order=order)


class CorrelationCongruence(FeatureLoss):
    """Loss object for `correlation_congruence` between embeddings of any widths.

    Takes no mask: pool features over the positions that count before, or tap a pooled layer.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        gamma: as in `correlation_congruence`.
        order: as in `correlation_congruence`.
        name: of the term; None: "correlation_congruence[roles]".

    Raises:
        ValueError: no role, or a set of them; gamma or order that is not positive; in forward, as
            `correlation_congruence`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = (Output(None, {"pool": torch.eye(3, width)}) for width in (3, 8))
        >>> CorrelationCongruence("pool")(student, teacher)
        tensor(0.)
    """

    kind = "correlation_congruence"

    def __init__(self, roles: Roles, *, gamma: float = 0.4, order: int = 2, name: str | None = None) -> None:
        super().__init__(roles, name=name)
        _check(gamma, order)
        self.gamma, self.order = gamma, order

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `correlation_congruence`."""
        return correlation_congruence(student, teacher, gamma=self.gamma, order=self.order)
