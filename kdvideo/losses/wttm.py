"""Weighted transformed teacher matching: examples with smooth teacher probabilities count more."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import check_classes
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss
from kdvideo.losses.soft_target import kl_elements
from kdvideo.losses.ttm import check_gamma


def wttm(
    student: Tensor,
    teacher: Tensor,
    *,
    gamma: float = 0.2,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the divergence of `ttm`, each example weighted by the power sum of the teacher's probabilities.

    L = 1/N Σ_i U_i KL(p^γ / U_i ‖ q), with U_i = Σ_k p_k^γ, p = softmax(t_i) and q = softmax(s_i).
    U is 1 for a one-hot teacher and K^(1 − γ) for a uniform one.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        gamma: γ > 0; 0.2 in the authors' example on CIFAR-100. 1 is KD at T = 1.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a γ that is not positive, or tensors that `soft_target` refuses.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)
        >>> wttm(student, teacher, gamma=1.0)
        tensor(0.1201)

    Source:
        Zheng, Yang, "Knowledge Distillation Based on Transformed Teacher Matching", ICLR 2024, arXiv 2402.11148.
    """
    check_gamma(gamma)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    power_sum = (gamma * F.log_softmax(teacher, dim)).logsumexp(dim).exp()
    return over_positions(power_sum * kl_elements(student, gamma * teacher, dim).sum(dim), mask, normalizer)


class WTTM(LogitLoss):
    """Loss object for `wttm` between the logits of two `Output`s.

    Args:
        gamma: γ > 0.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a γ that is not positive; in forward, as `wttm`, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 5), {})
        >>> WTTM()(same, same)
        tensor(0.)
    """

    name = "wttm"

    def __init__(self, *, gamma: float = 0.2, dim: int = 1, name: str | None = None) -> None:
        super().__init__(dim=dim, name=name)
        check_gamma(gamma)
        self.gamma = gamma

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `wttm`."""
        return wttm(student, teacher, gamma=self.gamma, dim=self.dim, mask=given.mask, normalizer=given.normalizer)
