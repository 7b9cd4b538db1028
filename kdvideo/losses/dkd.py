"""Decoupled knowledge distillation: the target class and the other classes with weights of their own."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import check_classes, check_temperature, checked_labels
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses._labels import check_weights, target_against_rest, without_target
from kdvideo.losses.kinds import LogitLoss
from kdvideo.losses.soft_target import kl_elements


def dkd(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence of KD in two parts, one of which does not shrink when the teacher is sure.

    L = T² · 1/N Σ_i (α TCKD + β NCKD), where y is the true class of i and all logits are divided by T:
    TCKD = KL((p_y, 1 − p_y) ‖ (q_y, 1 − q_y)), and NCKD = KL(p̂ ‖ q̂) of softmaxes over the classes other than y.
    KD is TCKD + (1 − p_y) NCKD.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1; q is their softmax.
        teacher: logits of the same shape; p is their softmax.
        labels: the true class y of every position, integers from 0 to K - 1.
        alpha: weight ≥ 0 of the target class; 1 in the paper.
        beta: weight ≥ 0 of the other classes; 8 is that of CIFAR-100 for many pairs, 0.5 that of ResNet-34 to
            ResNet-18 on ImageNet.
        temperature: T > 0; 4 on CIFAR-100, 1 on ImageNet.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts. Labels may be anything elsewhere.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: labels of another shape or out of range, a negative weight, a temperature that is not positive, or
            tensors that `soft_target` refuses.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[3.0, 2.0, 0.0]])
        >>> dkd(student, teacher, labels=torch.tensor([0]), temperature=1.0)
        tensor(0.4694)

    Source:
        Zhao, Cui, Song, Qiu, Liang, "Decoupled Knowledge Distillation", CVPR 2022, arXiv 2203.08679, equation 7.
    """
    check_weights(alpha=alpha, beta=beta)
    check_temperature(temperature)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    index = checked_labels(labels, student, dim, mask)
    student, teacher = student / temperature, teacher / temperature
    target, others = (
        kl_elements(part(student, index, dim), part(teacher, index, dim), dim).sum(dim)
        for part in (target_against_rest, without_target)
    )
    return over_positions(alpha * target + beta * others, mask, normalizer) * temperature**2


class DKD(LogitLoss):
    """Loss object for `dkd` between the logits of two `Output`s; it needs `labels=`.

    Args:
        alpha: weight ≥ 0 of the target class.
        beta: weight ≥ 0 of the other classes.
        temperature: T > 0.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a negative weight or a temperature that is not positive; in forward, as `dkd`, no labels, or an
            output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 5), {})
        >>> DKD()(same, same, labels=torch.tensor([0, 4]))
        tensor(0.)
    """

    name = "dkd"

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(dim=dim, name=name)
        check_weights(alpha=alpha, beta=beta)
        check_temperature(temperature)
        self.alpha, self.beta, self.temperature = alpha, beta, temperature

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `dkd`."""
        return dkd(
            student,
            teacher,
            labels=given.need("labels", self.name),
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
