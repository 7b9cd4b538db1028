"""Weighted soft labels: KD weighted for each example by how far the student is behind the teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import check_classes, check_temperature, checked_labels
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss
from kdvideo.losses.soft_target import kl_elements


def wsld(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    temperature: float = 2.0,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence of KD, weighted less where the student is already better than the teacher.

    L = T² · 1/N Σ_i w_i KL(softmax(t_i / T) ‖ softmax(s_i / T)), w_i = 1 − exp(−CE(s_i, y_i) / CE(t_i, y_i)), with
    the cross-entropies with the true class at temperature 1. The weight has no gradient. The paper writes the
    cross-entropy with the soft labels for the divergence: the difference, the teacher's entropy, has no gradient.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        labels: the true class y of every position, integers from 0 to K - 1.
        temperature: T > 0; 2 on ImageNet, 4 on CIFAR-100.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts. Labels may be anything elsewhere.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: labels of another shape or out of range, a temperature that is not positive, or tensors that
            `soft_target` refuses.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> wsld(logits, logits, labels=torch.tensor([0]))
        tensor(0.)

    Source:
        Zhou, Song, Chen, Zhou, Wang, Yuan, Zhang, "Rethinking Soft Labels for Knowledge Distillation: A
        Bias-Variance Tradeoff Perspective", ICLR 2021, arXiv 2102.00650.
    """
    check_temperature(temperature)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    index = checked_labels(labels, student, dim, mask)
    values = kl_elements(student / temperature, teacher / temperature, dim).sum(dim)
    ours, theirs = (-F.log_softmax(z.detach(), dim).gather(dim, index).squeeze(dim) for z in (student, teacher))
    # A teacher that is sure has a cross-entropy of 0 in float32; both sure is a weight of 0.
    ratio = ours / theirs.clamp(min=torch.finfo(theirs.dtype).tiny)
    # A class that the teacher excludes tells nothing about the example: inf / inf.
    weights = -torch.expm1(-ratio.masked_fill(theirs == torch.inf, 0.0))
    return over_positions(weights * values, mask, normalizer) * temperature**2


class WSLD(LogitLoss):
    """Loss object for `wsld` between the logits of two `Output`s; it needs `labels=`.

    Args:
        temperature: T > 0.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a temperature that is not positive; in forward, as `wsld`, no labels, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 5), {})
        >>> WSLD()(same, same, labels=torch.tensor([0, 4]))
        tensor(0.)
    """

    name = "wsld"

    def __init__(self, *, temperature: float = 2.0, dim: int = 1, name: str | None = None) -> None:
        super().__init__(dim=dim, name=name)
        check_temperature(temperature)
        self.temperature = temperature

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `wsld`."""
        return wsld(
            student,
            teacher,
            labels=given.need("labels", self.name),
            temperature=self.temperature,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
