"""Transformed teacher matching: a temperature for the teacher only."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import check_classes
from kdvideo._numbers import check_numbers, positive
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss
from kdvideo.losses.soft_target import kl_elements


def ttm(
    student: Tensor,
    teacher: Tensor,
    *,
    gamma: float = 0.1,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence from the power transform of the teacher's probabilities to the student's.

    L = 1/N Σ_i KL(p^γ / Σ_k p_k^γ ‖ q), with p = softmax(t_i) and q = softmax(s_i): KD at T = 1 / γ without the
    temperature of the student, and so without T². With γ < 1 it is not 0 where student and teacher agree.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        gamma: γ > 0; 0.1 in the authors' example on CIFAR-100. 1 is KD at T = 1.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a γ that is not positive, or tensors that `soft_target` refuses.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> ttm(logits, logits, gamma=1.0)
        tensor(0.)

    Source:
        Zheng, Yang, "Knowledge Distillation Based on Transformed Teacher Matching", ICLR 2024, arXiv 2402.11148.
    """
    check_gamma(gamma)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    return over_positions(kl_elements(student, gamma * teacher, dim).sum(dim), mask, normalizer)


def check_gamma(gamma: float) -> None:
    """Raise ValueError unless the exponent of the power transform is positive and finite."""
    check_numbers("positive and finite", positive, gamma=gamma)


class TTM(LogitLoss):
    """Loss object for `ttm` between the logits of two `Output`s.

    Args:
        gamma: γ > 0.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a γ that is not positive; in forward, as `ttm`, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 5), {})
        >>> TTM()(same, same)
        tensor(0.)
    """

    name = "ttm"

    def __init__(self, *, gamma: float = 0.1, dim: int = 1, name: str | None = None) -> None:
        super().__init__(dim=dim, name=name)
        check_gamma(gamma)
        self.gamma = gamma

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `ttm`."""
        return ttm(student, teacher, gamma=self.gamma, dim=self.dim, mask=given.mask, normalizer=given.normalizer)
