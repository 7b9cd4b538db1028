"""Total variation distance between class probabilities."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import Reduction
from kdvideo._tensors import reduced
from kdvideo.losses._divergences import DivergenceLoss, log_probabilities
from kdvideo.losses._given import Given


def total_variation(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the total variation distance between class probabilities.

    L = 1/N Σ_i ½ Σ_k |p_ik − q_ik|,
    with p = softmax(t / T) of the teacher and q = softmax(s / T) of the student; no T², as in the paper.
    It is symmetric and lies in [0, 1].

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        temperature: T > 0; 1 in the paper.
        reduction: over the class axis; the rest is averaged. "sum" is the distance; "mean" divides it
            by K; "none" reduces nothing and returns every summand, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64. Finite for
        logits of -inf in one network or in both.

    Raises:
        ValueError: a temperature that is not positive, shapes that differ, a single class, an empty batch, integer
            tensors, an unknown reduction, a mask of another shape, a `dim` that is no such axis, or a normalizer that
            is not positive.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
        >>> total_variation(student, teacher)
        tensor(1.)

    Source:
        Wen, Li, Du, Mou, "f-Divergence Minimization for Sequence-Level Knowledge Distillation", ACL 2023,
        arXiv 2307.15190.
    """
    log_q, log_p = log_probabilities(student, teacher, temperature=temperature, dim=dim, mask=mask)
    elements = 0.5 * (log_p.exp() - log_q.exp()).abs()
    return reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer)


class TotalVariation(DivergenceLoss):
    """Loss object for `total_variation` between the logits of two `Output`s.

    Args:
        temperature: T > 0.
        reduction: as in `total_variation`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a temperature that is not positive or an unknown reduction; in forward, as `total_variation`,
            or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 3, 5), {})
        >>> TotalVariation(dim=-1)(same, same)
        tensor(0.)
    """

    name = "total_variation"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `total_variation`."""
        return total_variation(student, teacher, **self.options(given))
