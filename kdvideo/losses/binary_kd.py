"""Kullback-Leibler divergence between the yes-or-no probabilities of binary and multi-label logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import Reduction, check_temperature
from kdvideo._tensors import matched, reduced
from kdvideo.losses._divergences import DivergenceLoss, kl_terms
from kdvideo.losses._given import Given


def binary_kd(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence between the Bernoulli distributions of every class.

    L = T² · 1/N Σ_i Σ_k KL(Bernoulli(σ(t_ik / T)) ‖ Bernoulli(σ(s_ik / T))).
    T² keeps the size of the gradient when T changes, as in `soft_target`; the paper has T = 1.

    Args:
        student: logits before the sigmoid, (B, K), or (B, K, ...) with the classes on axis 1; K may be 1.
        teacher: logits of the same shape.
        temperature: T > 0.
        reduction: over the class axis; the rest is averaged. "sum" is the divergence; "mean" divides it
            by K, as binary cross-entropy does; "none" reduces nothing and returns one divergence for each logit.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64. Logits that are
        -inf (or inf) in both networks count 0.

    Raises:
        ValueError: a temperature that is not positive, shapes that differ, an empty batch, integer tensors, an unknown
            reduction, a mask of another shape, a `dim` that is no such axis, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> binary_kd(torch.tensor([[0.0]]), torch.tensor([[torch.inf]]))  # log 2
        tensor(0.6931)

    Source:
        Yang, Xie, Zong et al., "Multi-Label Knowledge Distillation", ICCV 2023, arXiv 2308.06453 (its logits term);
        T² after Hinton et al., arXiv 1503.02531.
    """
    check_temperature(temperature)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    student, teacher = student / temperature, teacher / temperature
    yes = kl_terms(F.logsigmoid(teacher), F.logsigmoid(student))
    no = kl_terms(F.logsigmoid(-teacher), F.logsigmoid(-student))
    return reduced(yes + no, reduction, dim=dim, mask=mask, normalizer=normalizer) * temperature**2


class BinaryKD(DivergenceLoss):
    """Loss object for `binary_kd` between the logits of two `Output`s.

    Args:
        temperature: T > 0.
        reduction: as in `binary_kd`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a temperature that is not positive or an unknown reduction; in forward, as `binary_kd`,
            or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(4, 1), {})
        >>> BinaryKD()(same, same)
        tensor(0.)
    """

    name = "binary_kd"
    softmax = False

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `binary_kd`."""
        return binary_kd(student, teacher, **self.options(given))
