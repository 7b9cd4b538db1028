"""Generalized Jensen-Shannon divergence, between forward and reverse KL."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import Reduction
from kdvideo._numbers import check_numbers
from kdvideo._tensors import reduced
from kdvideo.losses._divergences import DivergenceLoss, kl_terms, log_mixture, log_probabilities
from kdvideo.losses._given import Given


def jensen_shannon(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the generalized Jensen-Shannon divergence between class probabilities.

    L = 1/N Σ_i β KL(p_i ‖ m_i) + (1 − β) KL(q_i ‖ m_i),  m = β p + (1 − β) q,
    with p = softmax(t / T) of the teacher and q = softmax(s / T) of the student; no T², as in the paper.
    L / β becomes KL(p ‖ q) as β → 0, and L / (1 − β) becomes KL(q ‖ p) as β → 1. L itself becomes 0 at both ends, so
    β = 0 and β = 1 stand for these limits, forward and reverse KL, as in TRL: the value jumps there.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        beta: β in [0, 1]; 0.5, which is symmetric, is the default of TRL; the paper tries 0.1, 0.5 and 0.9.
        temperature: T > 0; 1 in the paper.
        reduction: over the class axis; the rest is averaged. "sum" is the divergence; "mean" divides it
            by K; "none" reduces nothing and returns every summand, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64. Finite for
        logits of -inf in one network or in both, if 0 < β < 1.

    Raises:
        ValueError: β outside [0, 1], a temperature that is not positive, shapes that differ, a single class, an empty
            batch, integer tensors, an unknown reduction, a mask of another shape, a `dim` that is no such axis, or a
            normalizer that is not positive.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
        >>> jensen_shannon(student, teacher)  # log 2, the largest value
        tensor(0.6931)

    Source:
        Agarwal, Vieillard, Zhou et al., "On-Policy Distillation of Language Models: Learning from Self-Generated
        Mistakes" (GKD), ICLR 2024, arXiv 2306.13649.
    """
    check_beta(beta)
    log_q, log_p = log_probabilities(student, teacher, temperature=temperature, dim=dim, mask=mask)
    if beta == 0:
        elements = kl_terms(log_p, log_q)
    elif beta == 1:
        elements = kl_terms(log_q, log_p)
    else:
        log_m = log_mixture(log_p, log_q, beta)
        elements = beta * kl_terms(log_p, log_m) + (1 - beta) * kl_terms(log_q, log_m)
    return reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer)


def check_beta(beta: float) -> None:
    """Raise ValueError unless 0 ≤ β ≤ 1."""
    advice = "0 is forward KL, 1 is reverse KL"
    check_numbers("in [0, 1]", lambda value: 0 <= value <= 1, advice, beta=beta)


class JensenShannon(DivergenceLoss):
    """Loss object for `jensen_shannon` between the logits of two `Output`s.

    Args:
        beta: β in [0, 1].
        temperature: T > 0.
        reduction: as in `jensen_shannon`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: β outside [0, 1], a temperature that is not positive or an unknown reduction; in forward, as
            `jensen_shannon`, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 3, 4), {})
        >>> JensenShannon(beta=0.1, dim=-1)(same, same).abs() < 1e-6
        tensor(True)
    """

    name = "jensen_shannon"

    def __init__(
        self,
        *,
        beta: float = 0.5,
        temperature: float = 1.0,
        reduction: Reduction = "sum",
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(temperature=temperature, reduction=reduction, dim=dim, name=name)
        check_beta(beta)
        self.beta = beta

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `jensen_shannon`."""
        return jensen_shannon(student, teacher, beta=self.beta, **self.options(given))
