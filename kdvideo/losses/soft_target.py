"""Kullback-Leibler divergence between softened class probabilities: the first knowledge distillation."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo.features import Output
from kdvideo.losses._outputs import logits_of
from kdvideo.losses._tensors import Reduction, check_reduction, matched, reduced
from kdvideo.losses.base import Loss


def soft_target(student: Tensor, teacher: Tensor, *, temperature: float = 4.0, reduction: Reduction = "sum") -> Tensor:
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

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64.

    Raises:
        ValueError: a temperature that is not positive, shapes that differ, an empty batch, integer tensors,
            or an unknown reduction.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> soft_target(logits, logits, temperature=2.0)
        tensor(0.)

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.
    """
    check_temperature(temperature)
    student, teacher = matched(student, teacher)
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    elements = F.kl_div(log_student, log_teacher, reduction="none", log_target=True)
    return reduced(elements, reduction) * temperature**2


class SoftTarget(Loss):
    """Loss object for `soft_target` between the logits of two `Output`s.

    Args:
        temperature: T > 0.
        reduction: as in `soft_target`.

    Raises:
        ValueError: a temperature that is not positive or an unknown reduction; in forward, as `soft_target`,
            or an output without logits.

    Examples:
        >>> import torch
        >>> same = Output(torch.ones(2, 5), {})
        >>> SoftTarget(temperature=4.0)(same, same)
        tensor(0.)
    """

    name = "soft_target"

    def __init__(self, *, temperature: float = 4.0, reduction: Reduction = "sum") -> None:
        super().__init__()
        check_temperature(temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.reduction: Reduction = reduction

    def forward(self, student: Output, teacher: Output, *, step: int | None = None) -> Tensor:
        """Compute the loss; `step` is not used."""
        pair = logits_of(student, teacher)
        return soft_target(*pair, temperature=self.temperature, reduction=self.reduction)


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is positive and finite."""
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
