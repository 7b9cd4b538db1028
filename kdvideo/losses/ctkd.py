"""Curriculum temperature: KD with a temperature that learns to make the loss harder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdvideo._checks import check_classes, check_temperature, check_tensor
from kdvideo._tensors import matched, reduced
from kdvideo.losses._given import Given
from kdvideo.losses._labels import check_weights
from kdvideo.losses._weights import Weight
from kdvideo.losses.kinds import LogitLoss
from kdvideo.losses.soft_target import kl_elements


def ctkd(
    student: Tensor,
    teacher: Tensor,
    *,
    theta: Tensor,
    strength: float,
    start: float = 1.0,
    span: float = 20.0,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence of KD at a temperature that is learned against the student.

    L = T² · 1/N Σ_i KL(softmax(t_i / T) ‖ softmax(s_i / T)), with T = start + span · sigmoid(θ).
    The gradient of θ is −λ ∂L/∂θ, so that the step of an optimizer that lowers L for the student raises it for θ.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        theta: θ, a scalar, and for its gradient a parameter: one temperature for all examples.
        strength: λ ≥ 0 of the reversed gradient; in the paper it goes from 0 to 1.
        start: the lowest temperature, > 0; 1 in the authors' settings.
        span: what sigmoid(θ) is multiplied by, ≥ 0; 20 in the authors' settings.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a θ that is no scalar, a negative strength or span, a start that is not positive, or tensors that
            `soft_target` refuses.

    Examples:
        >>> import torch
        >>> theta = torch.zeros((), requires_grad=True)
        >>> ctkd(torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 2.0]]), theta=theta, strength=1.0).backward()
        >>> theta.grad < 0  # a higher temperature is harder here: the optimizer will raise it
        tensor(True)

    Source:
        Li, Li, Yang, Zhao, Song, Luo, Li, Yang, "Curriculum Temperature for Knowledge Distillation", AAAI 2023,
        arXiv 2211.16231; the global temperature.
    """
    _check_range(start, span)
    check_weights(strength=strength)
    check_tensor(theta, "theta")
    if theta.numel() != 1:
        raise ValueError(f"theta must be a scalar, got shape {tuple(theta.shape)}")
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_classes(student, dim)
    theta = theta.to(student.dtype).reshape(())
    # The value of θ, exactly, with its gradient reversed.
    theta = theta.detach() - strength * (theta - theta.detach())
    temperature = start + span * torch.sigmoid(theta)
    elements = kl_elements(student / temperature, teacher / temperature, dim)
    return reduced(elements, "sum", dim=dim, mask=mask, normalizer=normalizer) * temperature**2


class CTKD(LogitLoss):
    """Loss object for `ctkd` between the logits of two `Output`s; its θ is a parameter that the optimizer must hold.

    Args:
        strength: λ ≥ 0 of the reversed gradient, or a schedule, which needs `step=`: in the paper
            `Cosine(0.0, 1.0, steps=...)` over 10 epochs of CIFAR-100 or 5 of ImageNet.
        theta: where θ begins; 1, T = 15.6, is our choice.
        start: the lowest temperature, > 0.
        span: what sigmoid(θ) is multiplied by, ≥ 0.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a negative strength or span, or a start that is not positive; in forward, as `ctkd`, a schedule
            and no step, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output, schedules
        >>> criterion = CTKD(strength=schedules.Cosine(0.0, 1.0, steps=1000))
        >>> same = Output(torch.ones(2, 5), {})
        >>> criterion(same, same, step=0)
        tensor(0., grad_fn=<MulBackward0>)
        >>> round(criterion.temperature, 1)
        15.6
    """

    name = "ctkd"

    def __init__(
        self,
        *,
        strength: Weight,
        theta: float = 1.0,
        start: float = 1.0,
        span: float = 20.0,
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(dim=dim, name=name)
        _check_range(start, span)
        if isinstance(strength, type) or not callable(strength):
            check_weights(strength=strength)  # type: ignore[arg-type]
        self.strength, self.start, self.span = strength, start, span
        # Not a scalar, which FSDP cannot shard.
        self.theta = nn.Parameter(torch.tensor([float(theta)]))

    @property
    def temperature(self) -> float:
        """Return the temperature as it is now."""
        return self.start + self.span * torch.sigmoid(self.theta.detach()).item()

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `ctkd`."""
        strength = self.strength
        if not isinstance(strength, (int, float)):
            strength = strength(given.need("step", self.name))
        return ctkd(
            student,
            teacher,
            theta=self.theta,
            strength=strength,
            start=self.start,
            span=self.span,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )


def _check_range(start: float, span: float) -> None:
    check_temperature(start)
    check_weights(span=span)
