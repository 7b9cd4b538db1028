"""Skewed forward Kullback-Leibler divergence, in which the student is mixed with the teacher."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import Reduction
from kdvideo._tensors import reduced
from kdvideo.losses._divergences import SkewedLoss, check_skew, kl_terms, log_mixture, log_probabilities
from kdvideo.losses._given import Given


def skewed_kl(
    student: Tensor,
    teacher: Tensor,
    *,
    skew: float = 0.1,
    temperature: float = 1.0,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence from the teacher to a mixture of teacher and student.

    L = 1/N Σ_i KL(p_i ‖ λ p_i + (1 − λ) q_i),
    with p = softmax(t / T) of the teacher and q = softmax(s / T) of the student; no T², as in the paper.
    λ = 0 is forward KL. The mixture bounds the gradient where the student's probability is near 0.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        skew: λ in [0, 1); 0.1 is the paper's choice (its α).
        temperature: T > 0; 1 in the paper.
        reduction: over the class axis; the rest is averaged. "sum" is the divergence; "mean" divides it
            by K; "none" reduces nothing and returns every summand, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64. Finite for
        logits of -inf in one network or in both, if λ > 0.

    Raises:
        ValueError: λ outside [0, 1), a temperature that is not positive, shapes that differ, a single class, an empty
            batch, integer tensors, an unknown reduction, a mask of another shape, a `dim` that is no such axis, or a
            normalizer that is not positive.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
        >>> skewed_kl(student, teacher)  # -log 0.1, the largest value
        tensor(2.3026)

    Source:
        Ko, Kim, Chen, Yun, "DistiLLM: Towards Streamlined Distillation for Large Language Models", ICML 2024,
        arXiv 2402.03898.
    """
    check_skew(skew)
    log_q, log_p = log_probabilities(student, teacher, temperature=temperature, dim=dim, mask=mask)
    elements = kl_terms(log_p, log_mixture(log_p, log_q, skew) if skew else log_q)
    return reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer)


class SkewedKL(SkewedLoss):
    """Loss object for `skewed_kl` between the logits of two `Output`s.

    Args:
        skew: λ in [0, 1).
        temperature: T > 0.
        reduction: as in `skewed_kl`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: λ outside [0, 1), a temperature that is not positive or an unknown reduction; in forward, as
            `skewed_kl`, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 3, 4), {})
        >>> SkewedKL(dim=-1)(same, same).abs() < 1e-6
        tensor(True)
    """

    name = "skewed_kl"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `skewed_kl`."""
        return skewed_kl(student, teacher, **self.options(given))
