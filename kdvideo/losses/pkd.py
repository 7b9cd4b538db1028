"""Pearson distillation: the correlation between standardized channels."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from kdvideo._numbers import check_numbers, positive
from kdvideo._tensors import matched
from kdvideo.losses._given import Given
from kdvideo.losses._relations import check_dim
from kdvideo.losses.kinds import FeatureLoss, Roles


def pkd(student: Tensor, teacher: Tensor, *, eps: float = 1e-6, dim: int = 1, mask: Tensor | None = None) -> Tensor:
    """Compute half the squared error between standardized features, which is 1 − the Pearson correlation.

    L = mean over channels of 1/(2M) Σ_m (ŝ_m − t̂_m)², with x̂ = (x − mean)/√(variance + eps) over the M values that
    a channel has in the batch.

    Args:
        student: feature, (B, C, H, W) or any (B, C, ...), projected to the teacher's shape; M ≥ 2.
        teacher: feature of the same shape.
        eps: > 0, keeps a constant channel at 0; our default. Choose less for features below 0.01 in size.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).
        mask: bool or 0 and 1, one for each position: where it counts, also in mean and variance.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, one value in a channel, eps that is not positive, a mask of another shape, an
            empty batch, integer tensors, or a `dim` that is no such axis.

    Examples:
        >>> import torch
        >>> student = torch.arange(6.0).reshape(2, 1, 3)
        >>> pkd(student, student).item()
        0.0
        >>> round(pkd(student, -student).item(), 4)
        2.0

    Source:
        Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation Coefficient",
        NeurIPS 2022, arXiv 2207.02039.
    """
    _check(eps)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_dim(student, dim)
    if student.numel() == student.shape[dim]:
        raise ValueError(f"a correlation needs at least 2 values in a channel, got shape {tuple(student.shape)}")
    keep = torch.ones_like(student).select(dim, 0) if mask is None else mask.bool()
    weights = keep.reshape(-1).to(student.dtype)
    weights = weights / weights.sum().clamp(min=1)
    student, teacher = (_standardized(feature, weights, eps, dim) for feature in (student, teacher))
    return ((student - teacher).square() * weights).sum(1).mean() / 2


def _standardized(feature: Tensor, weights: Tensor, eps: float, dim: int) -> Tensor:
    rows = rearrange(feature.movedim(dim, 1), "b c ... -> c (b ...)")
    rows = rows - (rows * weights).sum(1, keepdim=True)
    return rows * ((rows.square() * weights).sum(1, keepdim=True) + eps).rsqrt()


def _check(eps: float) -> None:
    check_numbers("positive and finite", positive, eps=eps)


class PKD(FeatureLoss):
    """Loss object for `pkd` between features of one shape, whatever their scale.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        eps: as in `pkd`.
        dim: the channel axis.
        masked: whether the mask of a call holds for these features; their positions must then have its shape.
        name: of the term; None: "pkd[roles]".

    Raises:
        ValueError: no role, or a set of them; eps that is not positive; in forward, as `pkd`, or an output without that
            role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"p3": torch.ones(2, 8, 7, 7)})
        >>> PKD("p3")(same, same)
        tensor(0.)
    """

    kind = "pkd"

    def __init__(
        self, roles: Roles, *, eps: float = 1e-6, dim: int = 1, masked: bool = True, name: str | None = None
    ) -> None:
        super().__init__(roles, masked=masked, name=name)
        _check(eps)
        self.eps, self.dim = eps, dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `pkd`."""
        return pkd(student, teacher, eps=self.eps, dim=self.dim, mask=given.mask)
