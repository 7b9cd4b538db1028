"""Alpha-beta divergence, a family that holds forward KL, reverse KL and Hellinger's distance."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import Reduction
from kdvideo._numbers import is_number, not_negative
from kdvideo._tensors import reduced
from kdvideo.losses._divergences import DivergenceLoss, kl_terms, log_probabilities
from kdvideo.losses._given import Given


def alpha_beta(
    student: Tensor,
    teacher: Tensor,
    *,
    alpha: float = 0.8,
    beta: float = 0.3,
    temperature: float = 1.0,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the alpha-beta divergence between class probabilities.

    L = 1/N Σ_i Σ_k − 1/(αβ) [p^α q^β − α/(α+β) p^(α+β) − β/(α+β) q^(α+β)],
    with p = softmax(t / T) of the teacher and q = softmax(s / T) of the student; no T².
    Limits: β → 0 gives 1/α² Σ_k [p^α log(p^α / q^α) − p^α + q^α], and α → 0 gives
    1/β² Σ_k [q^β log(q^β / p^β) − q^β + p^β]. So (1, 0) is forward KL, (0, 1) is reverse KL, and (½, ½) is
    2 Σ_k (√p − √q)², four times the squared Hellinger distance.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        alpha: α ≥ 0: a larger one concentrates on classes that the student misses. 0.8 (with α + β = 1.1) is the
            authors' for CIFAR-100; 0.2 with β = 0.7 for language models.
        beta: β ≥ 0, not 0 together with α: a larger one concentrates on classes that the student is sure of.
            Neither may be negative, though the definition allows it: a class of probability 0 would be inf.
        temperature: T > 0.
        reduction: over the class axis; the rest is averaged. "sum" is the divergence; "mean" divides it
            by K; "none" reduces nothing and returns every summand, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64. Finite for
        logits of -inf in one network or in both, if α > 0 and β > 0.

    Raises:
        ValueError: a negative α or β or both 0, a temperature that is not positive, shapes that differ, a single class,
            an empty batch, integer tensors, an unknown reduction, a mask of another shape, a `dim` that is no such
            axis, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
        >>> alpha_beta(student, teacher, alpha=0.5, beta=0.5)
        tensor(4.)

    Source:
        Wang, Yang, Wang et al., "ABKD: Pursuing a Proper Allocation of the Probability Mass in Knowledge Distillation
        via α-β-Divergence", ICML 2025, arXiv 2505.04560; the divergence is that of Cichocki, Cruces, Amari,
        "Generalized Alpha-Beta Divergences", Entropy 2011.
    """
    check_exponents(alpha, beta)
    log_q, log_p = log_probabilities(student, teacher, temperature=temperature, dim=dim, mask=mask)
    if beta == 0:
        elements = _limit(alpha * log_p, alpha * log_q) / alpha**2
    elif alpha == 0:
        elements = _limit(beta * log_q, beta * log_p) / beta**2
    else:
        total = alpha + beta
        own = (alpha * torch.exp(total * log_p) + beta * torch.exp(total * log_q)) / total
        elements = (own - torch.exp(alpha * log_p + beta * log_q)) / (alpha * beta)
    return reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer)


def _limit(log_a: Tensor, log_b: Tensor) -> Tensor:
    return kl_terms(log_a, log_b) - log_a.exp() + log_b.exp()


def check_exponents(alpha: float, beta: float) -> None:
    """Raise ValueError unless α and β are finite, not negative and not both 0."""
    if not (is_number(alpha) and is_number(beta) and not_negative(alpha) and not_negative(beta) and alpha + beta > 0):
        raise ValueError(f"alpha and beta must be finite, not negative and not both 0, got {alpha!r} and {beta!r}")


class AlphaBeta(DivergenceLoss):
    """Loss object for `alpha_beta` between the logits of two `Output`s.

    Args:
        alpha: α ≥ 0.
        beta: β ≥ 0, not 0 together with α.
        temperature: T > 0.
        reduction: as in `alpha_beta`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a bad α, β or temperature, or an unknown reduction; in forward, as `alpha_beta`, or an output
            without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 3, 4), {})
        >>> AlphaBeta(alpha=0.2, beta=0.7, dim=-1)(same, same).abs() < 1e-5
        tensor(True)
    """

    name = "alpha_beta"

    def __init__(
        self,
        *,
        alpha: float = 0.8,
        beta: float = 0.3,
        temperature: float = 1.0,
        reduction: Reduction = "sum",
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(temperature=temperature, reduction=reduction, dim=dim, name=name)
        check_exponents(alpha, beta)
        self.alpha, self.beta = alpha, beta

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `alpha_beta`."""
        return alpha_beta(student, teacher, alpha=self.alpha, beta=self.beta, **self.options(given))
