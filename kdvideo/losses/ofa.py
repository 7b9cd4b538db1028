"""The loss of one-for-all distillation: a cross-entropy with an enhanced target class."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import check_classes, checked_labels
from kdvideo._numbers import check_numbers
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses._labels import cross_entropy_elements
from kdvideo.losses.kinds import LogitLoss


def ofa(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    gamma: float = 1.5,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute a cross-entropy with the teacher's probabilities, in which the true class counts more.

    L = 1/N Σ_i (−(1 + p_y)^γ log q_y − Σ_{k≠y} p_k log q_k), with the true class y of i, p = softmax(t) and
    q = softmax(s). With γ = 1 it is the cross-entropy with the label plus that with the teacher: the loss contains
    the label, and is not 0 where student and teacher agree.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1; in the paper those of a head on one stage.
        teacher: logits of the same shape.
        labels: the true class y of every position, integers from 0 to K - 1.
        gamma: γ ≥ 1; 1.5 in the authors' command for DeiT-T to ResNet-18.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts. Labels may be anything elsewhere.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: labels of another shape or out of range, γ < 1, or tensors that `soft_target` refuses.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[0.0, 0.0]])
        >>> ofa(logits, logits, labels=torch.tensor([0]), gamma=1.0)  # 2 log 2
        tensor(1.3863)

    Source:
        Hao, Guo, Han, Tang, Hu, Wang, Xu, "One-for-All: Bridge the Gap Between Heterogeneous Architectures in
        Knowledge Distillation", NeurIPS 2023, arXiv 2310.19444.
    """
    _check_gamma(gamma)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    index = checked_labels(labels, student, dim, mask)
    weights = F.softmax(teacher, dim)
    weights = weights.scatter(dim, index, (1 + weights.gather(dim, index)) ** gamma)
    return over_positions(cross_entropy_elements(student, weights, dim).sum(dim), mask, normalizer)


class OFA(LogitLoss):
    """Loss object for `ofa` between the logits of two `Output`s; it needs `labels=`.

    Args:
        gamma: γ ≥ 1.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: γ < 1; in forward, as `ofa`, no labels, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.zeros(1, 2), {})
        >>> OFA(gamma=1.0)(same, same, labels=torch.tensor([0]))
        tensor(1.3863)
    """

    name = "ofa"

    def __init__(self, *, gamma: float = 1.5, dim: int = 1, name: str | None = None) -> None:
        super().__init__(dim=dim, name=name)
        _check_gamma(gamma)
        self.gamma = gamma

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `ofa`."""
        return ofa(
            student,
            teacher,
            labels=given.need("labels", self.name),
            gamma=self.gamma,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )


def _check_gamma(gamma: float) -> None:
    check_numbers("finite and at least 1", lambda value: 1 <= value < float("inf"), gamma=gamma)
