"""Cosine and smooth-L1 distance: how agglomerative students follow foundation models."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo._numbers import check_numbers, not_negative, positive
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses.feature_cosine import cosine_distance
from kdvideo.losses.kinds import FeatureLoss, Roles


def foundation_feature(
    student: Tensor,
    teacher: Tensor,
    *,
    cosine: float = 0.5,
    smooth_l1: float = 0.5,
    beta: float = 1.0,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute a weighted sum of the cosine and the smooth-L1 distance between features.

    L = mean over positions of a · (1 − cos(s, t)) + b · 1/C Σ_c h(s_c − t_c), with h(x) = x²/(2β) for |x| < β and
    |x| − β/2 beyond.

    Args:
        student: feature, (B, C), tokens or any (B, C, ...), projected to the teacher's shape.
        teacher: feature of the same shape; standardize it first, as by `PHIS`, where several teachers are followed.
        cosine: a ≥ 0; 0.5 in UNIC, 0.9 for the patches in AM-RADIO.
        smooth_l1: b ≥ 0; 0.5 in UNIC, 0.1 for the patches in AM-RADIO. One of a and b must be positive.
        beta: β > 0; 1 in UNIC.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).
        mask: bool or 0 and 1, one for each position: where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, weights or beta out of range, an empty batch, integer tensors, a mask of another
            shape, a `dim` that is no such axis, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> foundation_feature(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))
        tensor(0.7500)

    Source:
        Sariyildiz et al., "UNIC: Universal Classification Models via Multi-teacher Distillation", ECCV 2024,
        arXiv 2408.05088; Ranzinger et al., "AM-RADIO", CVPR 2024, arXiv 2312.06709.
    """
    _check(cosine, smooth_l1, beta)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    values = smooth_l1 * F.smooth_l1_loss(student, teacher, reduction="none", beta=beta).mean(dim)
    return over_positions(values + cosine * cosine_distance(student, teacher, dim), mask, normalizer)


def _check(cosine: float, smooth_l1: float, beta: float) -> None:
    check_numbers("a weight of at least 0", not_negative, cosine=cosine, smooth_l1=smooth_l1)
    if cosine == smooth_l1 == 0:
        raise ValueError("one of cosine and smooth_l1 must be positive, got 0 and 0")
    check_numbers("positive and finite", positive, beta=beta)


class FoundationFeature(FeatureLoss):
    """Loss object for `foundation_feature` between features; `Student` holds a projector where one is needed.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        cosine: as in `foundation_feature`.
        smooth_l1: as in `foundation_feature`.
        beta: as in `foundation_feature`.
        dim: the channel axis.
        masked: whether the mask of a call holds for these features; their positions must then have its shape.
        name: of the term; None: "foundation_feature[roles]".

    Raises:
        ValueError: no role, or a set of them; weights or beta out of range; in forward, as `foundation_feature`, or an
            output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"patches": torch.eye(4)[None]})
        >>> FoundationFeature("patches", dim=-1)(same, same)
        tensor(0.)
    """

    kind = "foundation_feature"

    def __init__(
        self,
        roles: Roles,
        *,
        cosine: float = 0.5,
        smooth_l1: float = 0.5,
        beta: float = 1.0,
        dim: int = 1,
        masked: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, masked=masked, name=name)
        _check(cosine, smooth_l1, beta)
        self.cosine, self.smooth_l1, self.beta = cosine, smooth_l1, beta
        self.dim = dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `foundation_feature`."""
        return foundation_feature(
            student,
            teacher,
            cosine=self.cosine,
            smooth_l1=self.smooth_l1,
            beta=self.beta,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
