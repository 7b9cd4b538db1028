"""Reverse Kullback-Leibler divergence: the student's probabilities weigh the difference."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import Reduction
from kdvideo._tensors import reduced
from kdvideo.losses._divergences import DivergenceLoss, kl_terms, log_probabilities
from kdvideo.losses._given import Given


def reverse_kl(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence from the student's class probabilities to the teacher's.

    L = 1/N Σ_i KL(softmax(s_i / T) ‖ softmax(t_i / T)).
    There is no T²: the paper has T = 1. Multiply by T² for gradients of the size of `soft_target`'s.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape.
        temperature: T > 0; 1 in the paper.
        reduction: over the class axis; the rest is averaged. "sum" is the divergence; "mean" divides it
            by K; "none" reduces nothing and returns every summand, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64. Classes of
        -inf in both networks, or in the student, count 0; -inf in the teacher alone gives inf, by the definition:
        `skewed_reverse_kl` is finite there.

    Raises:
        ValueError: a temperature that is not positive, shapes that differ, a single class, an empty batch, integer
            tensors, an unknown reduction, a mask of another shape, a `dim` that is no such axis, or a normalizer that
            is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> reverse_kl(logits, logits)
        tensor(0.)

    Source:
        Gu, Dong, Wei, Huang, "MiniLLM: Knowledge Distillation of Large Language Models", ICLR 2024,
        arXiv 2306.08543; the value at each token, without the policy gradient through sampling.
    """
    log_q, log_p = log_probabilities(student, teacher, temperature=temperature, dim=dim, mask=mask)
    return reduced(kl_terms(log_q, log_p), reduction, dim=dim, mask=mask, normalizer=normalizer)


class ReverseKL(DivergenceLoss):
    """Loss object for `reverse_kl` between the logits of two `Output`s.

    Args:
        temperature: T > 0.
        reduction: as in `reverse_kl`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a temperature that is not positive or an unknown reduction; in forward, as `reverse_kl`,
            or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 3, 5), {})
        >>> ReverseKL(dim=-1)(same, same)
        tensor(0.)
    """

    name = "reverse_kl"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `reverse_kl`."""
        return reverse_kl(student, teacher, **self.options(given))
