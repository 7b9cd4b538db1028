"""Normalized knowledge distillation: the target class softly, and the other classes scaled to one sum."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import check_classes, check_temperature, checked_labels
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses._labels import check_weights, cross_entropy_elements, without_target
from kdvideo.losses.kinds import LogitLoss


def nkd(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    gamma: float = 1.5,
    temperature: float = 1.0,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute a soft cross-entropy of the target class and one of the other classes, scaled to one sum.

    L = 1/N Σ_i (−p_y log q_y − γ T² Σ_{k≠y} p̂_k log q̂_k), where y is the true class of i, p and q are softmaxes
    at temperature 1, and p̂, q̂ are softmaxes at temperature T over the classes other than y.
    A cross-entropy: not 0 where student and teacher agree.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        labels: the true class y of every position, integers from 0 to K - 1.
        gamma: weight γ ≥ 0 of the other classes; 1.5 from ResNet-34 to ResNet-18, 1 for vision transformers.
        temperature: T > 0 of the other classes; 1 in the authors' ImageNet settings.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts. Labels may be anything elsewhere.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: labels of another shape or out of range, a negative γ, a temperature that is not positive, or
            tensors that `soft_target` refuses.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, 0.0]])
        >>> nkd(logits, logits, labels=torch.tensor([0]), gamma=0.0)
        tensor(0.1885)

    Source:
        Yang, Zeng, Li, Zhang, Yuan, Li, "From Knowledge Distillation to Self-Knowledge Distillation: A Unified
        Approach with Normalized Loss and Customized Soft Labels", ICCV 2023, arXiv 2303.13005.
    """
    check_weights(gamma=gamma)
    check_temperature(temperature)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    index = checked_labels(labels, student, dim, mask)
    probability = F.softmax(teacher, dim)
    target = torch.zeros_like(probability).scatter(dim, index, probability.gather(dim, index))
    others = F.softmax(without_target(teacher, index, dim) / temperature, dim)
    values = cross_entropy_elements(student, target, dim).sum(dim)
    distributed = cross_entropy_elements(without_target(student, index, dim) / temperature, others, dim).sum(dim)
    return over_positions(values + gamma * temperature**2 * distributed, mask, normalizer)


class NKD(LogitLoss):
    """Loss object for `nkd` between the logits of two `Output`s; it needs `labels=`.

    Args:
        gamma: weight γ ≥ 0 of the other classes.
        temperature: T > 0 of the other classes.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a negative γ or a temperature that is not positive; in forward, as `nkd`, no labels, or an output
            without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.tensor([[2.0, 0.0, 0.0]]), {})
        >>> NKD(gamma=0.0)(same, same, labels=torch.tensor([0]))
        tensor(0.1885)
    """

    name = "nkd"

    def __init__(self, *, gamma: float = 1.5, temperature: float = 1.0, dim: int = 1, name: str | None = None) -> None:
        super().__init__(dim=dim, name=name)
        check_weights(gamma=gamma)
        check_temperature(temperature)
        self.gamma, self.temperature = gamma, temperature

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `nkd`."""
        return nkd(
            student,
            teacher,
            labels=given.need("labels", self.name),
            gamma=self.gamma,
            temperature=self.temperature,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
