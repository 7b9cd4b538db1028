"""Softmax regression representation learning: features that agree, and agree for the teacher's classifier."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from kdvideo._numbers import is_number, not_negative
from kdvideo._tensors import matched
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import Frozen, OneLayerLoss, full_precision, pooled
from kdvideo.losses.kinds import Roles


def srrl(
    student: Tensor,
    teacher: Tensor,
    *,
    classifier: Callable[[Tensor], Tensor],
    alpha: float = 1.0,
    beta: float = 1.0,
) -> Tensor:
    """Compute squared errors of the last features, and of the logits that the teacher's classifier gives them.

    L = α · mean (h_t − h_s)² + β · mean (W(h_t) − W(h_s))², with the pooled features h and the teacher's frozen
    classifier W. The second term weighs a direction of the feature by what it means for the classes.

    Args:
        student: the student's projected feature, (B, C), or a map (B, C, ...), which is averaged over positions.
        teacher: the feature that the teacher pools and classifies, of the same shape.
        classifier: W, from (B, C) to (B, K).
        alpha: weight α ≥ 0 of the feature term; 1.
        beta: weight β ≥ 0 of the logit term; 1.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, a negative weight, an empty batch, or integer tensors.

    Examples:
        >>> import torch
        >>> srrl(torch.ones(2, 8), torch.zeros(2, 8), classifier=lambda h: h.sum(1, keepdim=True))
        tensor(65.)

    Source:
        Yang, Martinez, Bulat, Tzimiropoulos, "Knowledge Distillation via Softmax Regression Representation Learning",
        ICLR 2021 (openreview ZzwDy_wiWv); its squared error between logits.
    """
    _check(alpha, beta)
    student, teacher = matched(student, teacher)
    student, teacher = pooled(student), pooled(teacher)
    with full_precision(student):
        logits, target = classifier(student), classifier(teacher)
    return alpha * F.mse_loss(student, teacher) + beta * F.mse_loss(logits, target)


class SRRL(OneLayerLoss):
    """Loss object for `srrl`, with a frozen copy of the teacher's classifier.

    Args:
        roles: the role of the last feature, or one student's role: teacher's role.
        classifier: of the teacher, from pooled features (B, C) to logits; a copy of it is frozen.
        alpha: weight of the feature term.
        beta: weight of the logit term.
        name: of the term; None: "srrl[role]".

    Raises:
        ValueError: several roles, a negative weight; in forward, as `srrl`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"map": torch.randn(2, 8, 7, 7)})
        >>> SRRL("map", nn.Linear(8, 5))(same, same)
        tensor(0.)
    """

    kind = "srrl"

    def __init__(
        self, roles: Roles, classifier: nn.Module, *, alpha: float = 1.0, beta: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(roles, name=name)
        _check(alpha, beta)
        self.classifier = Frozen(classifier)
        self.alpha, self.beta = alpha, beta

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `srrl`."""
        return srrl(student, teacher, classifier=self.classifier, alpha=self.alpha, beta=self.beta)


def _check(alpha: float, beta: float) -> None:
    if not all(is_number(weight) and not_negative(weight) for weight in (alpha, beta)):
        raise ValueError(f"alpha and beta must be finite and at least 0, got {alpha!r} and {beta!r}")
