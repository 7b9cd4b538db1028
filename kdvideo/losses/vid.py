"""Variational information distillation: a Gaussian likelihood of the teacher's feature, with learned variances."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdvideo._checks import Reduction, check_reduction, check_tensor
from kdvideo._numbers import check_numbers
from kdvideo._tensors import matched, reduced
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import OneLayerLoss, check_positive, for_each_channel
from kdvideo.losses.kinds import Roles


def vid(
    student: Tensor,
    teacher: Tensor,
    *,
    scale: Tensor,
    eps: float = 1e-5,
    reduction: Reduction = "mean",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the negative log-likelihood of the teacher's feature under a Gaussian around the student's.

    L = mean over batch and positions of Σ_c (log σ_c + (t_c − s_c)² / 2σ_c²), the sum or the mean over channels,
    σ_c² = log(1 + exp(α_c)) + ε. Minimizing it maximizes a bound of the mutual information. A channel that the
    student cannot predict gets a large variance and counts less. The constant log(2π)/2 is left out, so the value may
    be negative and is not 0 where the features agree.

    Args:
        student: the mean μ(s), that is the student's projected feature, (B, C, ...). The paper projects with three
            1×1 convolutions.
        teacher: feature of the same shape.
        scale: α, (C,), any real numbers.
        eps: ε > 0, which keeps the variance from 0; 1e-5 in RepDistiller.
        reduction: over the channels: "mean" (default), "sum" as in the paper's equation, or "none".
        dim: the channel axis: 1, or -1 for tokens.
        mask: bool or 0 and 1, one for each position: where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the features; float32, or float64 for float64.

    Raises:
        ValueError: ε that is not positive, shapes that differ, another number of scales than of channels, an empty
            batch, integer tensors, an unknown reduction, a mask of another shape, a `dim` that is no such axis, or a
            normalizer that is not positive.

    Examples:
        >>> import torch
        >>> feature = torch.ones(2, 3, 7, 7)
        >>> vid(feature, feature, scale=torch.full((3,), math.log(math.e - 1)))  # σ = 1
        tensor(5.0068e-06)

    Source:
        Ahn, Hu, Damianou, Lawrence, Dai, "Variational Information Distillation for Knowledge Transfer", CVPR 2019,
        arXiv 1904.05835, equation 6.
    """
    check_positive(eps=eps)
    check_tensor(scale, "scale")
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    variance = for_each_channel(F.softplus(scale.to(student.dtype)) + eps, student, dim)
    elements = 0.5 * (variance.log() + (teacher - student).square() / variance)
    return reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer)


class VID(OneLayerLoss):
    """Loss object for `vid`; it learns one variance for each channel, so optimize its parameters too.

    Args:
        roles: the role of the layer, or one student's role: teacher's role.
        channels: C of the teacher's feature.
        initial_variance: σ² > ε at the start; 5 in RepDistiller.
        eps: as in `vid`.
        reduction: as in `vid`.
        dim: the channel axis.
        masked: whether the mask of a call holds for this feature.
        name: of the term; None: "vid[role]".

    Raises:
        ValueError: several roles, sizes that are not positive, a variance up to ε, an unknown reduction; in forward,
            as `vid`.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"4c": torch.ones(2, 3, 7, 7)})
        >>> criterion = VID("4c", 3, initial_variance=1.0)
        >>> criterion(same, same).abs() < 1e-6, [tuple(one.shape) for one in criterion.parameters()]
        (tensor(True), [(3,)])
    """

    kind = "vid"

    def __init__(
        self,
        roles: Roles,
        channels: int,
        *,
        initial_variance: float = 5.0,
        eps: float = 1e-5,
        reduction: Reduction = "mean",
        dim: int = 1,
        masked: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, masked=masked, name=name)
        check_positive(channels=channels, eps=eps)
        check_reduction(reduction)
        wanted = f"finite and above eps = {eps}"
        check_numbers(wanted, lambda value: eps < value < math.inf, initial_variance=initial_variance)
        self.eps, self.dim = eps, dim
        self.reduction: Reduction = reduction
        softplus = initial_variance - eps
        # The inverse of softplus, without overflow for large variances.
        self.scale = nn.Parameter(torch.full((channels,), softplus + math.log(-math.expm1(-softplus))))

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `vid`."""
        return vid(
            student,
            teacher,
            scale=self.scale,
            eps=self.eps,
            reduction=self.reduction,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
