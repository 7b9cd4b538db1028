"""Kullback-Leibler divergence between softened class probabilities: the first knowledge distillation."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import Reduction, check_classes, check_temperature
from kdvideo._tensors import matched, reduced
from kdvideo.losses._divergences import DivergenceLoss, kl_terms
from kdvideo.losses._given import Given


def soft_target(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 4.0,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence between softened class probabilities.

    L = T² · 1/N Σ_i KL(softmax(t_i / T) ‖ softmax(s_i / T)).
    T² keeps the size of the gradient when T changes.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        temperature: T > 0. The paper tries 1 to 20; 4 is the usual choice of later work. Past 100, T²
            magnifies the rounding of float32 in the value, though not in the gradient.
        reduction: over the class axis; the rest is averaged. "sum" is the divergence; "mean" divides it
            by K; "none" reduces nothing and returns every summand, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64.

    Raises:
        ValueError: a temperature that is not positive, shapes that differ, a single class, an empty batch, integer
            tensors, an unknown reduction, a mask of another shape, a `dim` that is no such axis, or a normalizer that
            is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> soft_target(logits, logits, temperature=2.0)
        tensor(0.)

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.
    """
    check_temperature(temperature)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    elements = kl_elements(student / temperature, teacher / temperature, dim)
    return reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer) * temperature**2


def kl_elements(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Compute p (log p - log q) for every class, p of the teacher's and q of the student's logits; 0 where p = 0."""
    return kl_terms(F.log_softmax(teacher, dim), F.log_softmax(student, dim))


class SoftTarget(DivergenceLoss):
    """Loss object for `soft_target` between the logits of two `Output`s.

    Args:
        temperature: T > 0.
        reduction: as in `soft_target`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a temperature that is not positive or an unknown reduction; in forward, as `soft_target`,
            or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 5), {})
        >>> SoftTarget(temperature=4.0)(same, same)
        tensor(0.)
    """

    name = "soft_target"

    def __init__(
        self, *, temperature: float = 4.0, reduction: Reduction = "sum", dim: int = 1, name: str | None = None
    ) -> None:
        super().__init__(temperature=temperature, reduction=reduction, dim=dim, name=name)

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `soft_target`."""
        return soft_target(student, teacher, **self.options(given))
