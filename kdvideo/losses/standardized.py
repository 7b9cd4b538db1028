"""Logit standardization: z-scores over the classes before any loss on logits."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import check_axis, check_tensor
from kdvideo._numbers import check_numbers, not_negative
from kdvideo._tensors import at_least_float32, matched
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss, on_logits


def standardize(logits: Tensor, *, dim: int = 1, eps: float = 1e-7) -> Tensor:
    """Subtract the mean over the classes from logits and divide by their standard deviation.

    z = (x − x̄) / (σ + ε), with σ² = 1/K Σ_k (x_k − x̄)².
    Logits of -inf, masked vocabulary, stay and do not count. Logits that are all equal, up to rounding, become 0
    and have no gradient, which would be as large as 1 / ε.

    Args:
        logits: (B, K), or (B, K, ...) with the classes on axis 1.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        eps: ε ≥ 0; 1e-7 is the authors' value.

    Returns:
        A tensor of the shape of the logits; float32, or float64 for float64.

    Raises:
        ValueError: a negative ε, no such axis, or integer logits.

    Examples:
        >>> import torch
        >>> standardize(torch.tensor([[1.0, 3.0], [10.0, 30.0]])).round(decimals=3)
        tensor([[-1.,  1.],
                [-1.,  1.]])

    Source:
        Sun, Ren, Li, Wang, Cao, "Logit Standardization in Knowledge Distillation", CVPR 2024, arXiv 2403.01427.
    """
    _check_eps(eps)
    check_tensor(logits, "logits")
    check_axis(logits, dim)
    if not logits.is_floating_point():
        raise ValueError(f"expected floating-point logits, got {logits.dtype}")
    logits = at_least_float32(logits)
    excluded = logits == -torch.inf
    finite = logits.masked_fill(excluded, 0.0)
    count = (~excluded).sum(dim, keepdim=True).clamp(min=1)
    centered = (finite - finite.sum(dim, keepdim=True) / count).masked_fill(excluded, 0.0)
    rounding = 16 * torch.finfo(logits.dtype).eps * finite.detach().abs().amax(dim, keepdim=True)
    constant = centered.detach().abs().amax(dim, keepdim=True) <= rounding
    # Filled before the root, whose gradient at 0 is infinite.
    deviation = (centered.square().sum(dim, keepdim=True) / count).masked_fill(constant, 1.0).sqrt()
    return (centered.masked_fill(constant, 0.0) / (deviation + eps)).masked_fill(excluded, -torch.inf)


class Standardized(LogitLoss):
    """Any loss on logits, on the standardized logits of two `Output`s.

    Args:
        loss: `SoftTarget(temperature=2.0)` is the method of the paper; its class axis is the one of the mean and of
            the deviation.
        eps: as in `standardize`.
        name: of the term; None: that of the loss, as in "standardized_soft_target".

    Raises:
        ValueError: a loss on something else than logits, or a sum; a negative ε; in forward, as the loss.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> from kdvideo.losses import SoftTarget
        >>> student, teacher = (Output(torch.tensor([[1.0, 3.0, 5.0]]) * scale, {}) for scale in (1.0, 10.0))
        >>> Standardized(SoftTarget(temperature=2.0)).terms(student, teacher)
        {'standardized_soft_target': tensor(0.)}
    """

    def __init__(self, loss: LogitLoss, *, eps: float = 1e-7, name: str | None = None) -> None:
        loss = on_logits(loss, (LogitLoss,), "Standardized")
        _check_eps(eps)
        super().__init__(dim=loss.dim, name=name or f"standardized_{loss.name}")
        self.loss, self.eps = loss, eps

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute the loss between standardized logits."""
        # Matched first, so that padding of nan is 0 before any division.
        student, teacher = matched(student, teacher, dim=self.dim, mask=given.mask)
        return self.loss.between(
            standardize(student, dim=self.dim, eps=self.eps), standardize(teacher, dim=self.dim, eps=self.eps), given
        )


def _check_eps(eps: float) -> None:
    check_numbers("finite and at least 0", not_negative, eps=eps)
