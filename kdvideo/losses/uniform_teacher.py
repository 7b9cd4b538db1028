"""Label smoothing as a teacher: the KL divergence from the uniform distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import Reduction, check_pair, check_reduction
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import StudentLogitLoss
from kdvideo.losses.soft_target import soft_target


def uniform_teacher(
    student: Tensor,
    *,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence from the uniform distribution to the student's class probabilities.

    L = 1/N Σ_i KL(u ‖ softmax(s_i)),  u_k = 1/K.
    (1 − ε) · cross-entropy + ε · L is the cross-entropy with label smoothing ε, but for the constant ε log K.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        reduction: over the class axis; the rest is averaged. "sum" is the divergence; "mean" divides it
            by K; "none" reduces nothing and returns every summand, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64. Classes whose
        logit is -inf count 0, and u is uniform over the others.

    Raises:
        ValueError: a single class, an empty batch, integer tensors, an unknown reduction, a mask of another shape, a
            `dim` that is no such axis, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> uniform_teacher(torch.tensor([[1.0, 1.0]]))
        tensor(0.)

    Source:
        Yuan, Tay, Li, Wang, Feng, "Revisiting Knowledge Distillation via Label Smoothing Regularization", CVPR 2020,
        arXiv 1909.11723, section 3; Szegedy et al. 2016, arXiv 1512.00567.
    """
    check_pair(student, student, dim=dim)
    uniform = torch.zeros_like(student).masked_fill(student.detach() == -torch.inf, -torch.inf)
    return soft_target(
        student, uniform, temperature=1.0, reduction=reduction, dim=dim, mask=mask, normalizer=normalizer
    )


class UniformTeacher(StudentLogitLoss):
    """Loss object for `uniform_teacher`; the teacher's output is not used.

    Args:
        reduction: as in `uniform_teacher`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: an unknown reduction; in forward, as `uniform_teacher`, or a student without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> UniformTeacher()(Output(torch.ones(2, 5), {}), Output(None, {}))
        tensor(0.)
    """

    name = "uniform_teacher"

    def __init__(self, *, reduction: Reduction = "sum", dim: int = 1, name: str | None = None) -> None:
        super().__init__(dim=dim, name=name)
        check_reduction(reduction)
        self.reduction: Reduction = reduction

    def of(self, student: Tensor, given: Given) -> Tensor:
        """Compute `uniform_teacher`."""
        return uniform_teacher(
            student, reduction=self.reduction, dim=self.dim, mask=given.mask, normalizer=given.normalizer
        )
