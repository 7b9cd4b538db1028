"""Mean squared error between features of any layer."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import Reduction, check_reduction
from kdvideo._tensors import matched, squared_error
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import FeatureLoss, Roles


def feature_mse(
    student: Tensor,
    teacher: Tensor,
    *,
    reduction: Reduction = "mean",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the squared error between a feature of the student and one of the teacher.

    L = mean over batch, time and space of ‖s − t‖², the squared norm averaged or summed over channels.

    Args:
        student: feature, (B, C, T, H, W) or any (B, C, ...), projected to the teacher's shape.
        teacher: feature of the same shape.
        reduction: over the channel axis 1; the rest is averaged. "mean" (default), "sum", or "none", which
            returns every squared difference.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).
        mask: bool or 0 and 1, one for each position (the shape without the channel axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the features; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ (see `kdvideo.projectors`), an empty batch, integer tensors, an unknown
            reduction, a `dim` that is no such axis, a mask of another shape, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> feature_mse(torch.ones(2, 8, 4, 7, 7), torch.zeros(2, 8, 4, 7, 7))
        tensor(1.)

    Source:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, arXiv 1412.6550; at layers 2C and 4C of
        S3D-G it is Table 6c of D3D, arXiv 1812.08249.
    """
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    return squared_error(student, teacher, reduction, dim=dim, mask=mask, normalizer=normalizer)


class FeatureMSE(FeatureLoss):
    """Loss object for `feature_mse` between features; `Student` holds a projector where one is needed.

    Args:
        roles: the role that the layers have in `Student` and `Teacher`; several, whose losses are added up; or a
            mapping from the student's roles to the teacher's.
        reduction: as in `feature_mse`.
        dim: the channel axis.
        masked: whether the mask of a call holds for these features; their positions must then have its shape.
        name: of the term; None: "feature_mse[roles]".

    Raises:
        ValueError: no role, or a set of them; an unknown reduction; in forward, as `feature_mse`, or an output without
            that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student = Output(None, {"4c": torch.ones(2, 8, 4, 7, 7)})
        >>> teacher = Output(None, {"4c": torch.zeros(2, 8, 4, 7, 7)})
        >>> FeatureMSE("4c").terms(student, teacher)
        {'feature_mse[4c]': tensor(1.)}
    """

    kind = "feature_mse"

    def __init__(
        self,
        roles: Roles,
        *,
        reduction: Reduction = "mean",
        dim: int = 1,
        masked: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, masked=masked, name=name)
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        self.dim = dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `feature_mse`."""
        return feature_mse(
            student, teacher, reduction=self.reduction, dim=self.dim, mask=given.mask, normalizer=given.normalizer
        )
