"""Mean squared error between features of any layer."""

from __future__ import annotations

from torch import Tensor

from kdvideo.features import Output
from kdvideo.losses._outputs import features_of
from kdvideo.losses._tensors import Reduction, check_reduction, squared_error
from kdvideo.losses.base import Loss


def feature_mse(student: Tensor, teacher: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Compute the squared error between a feature of the student and one of the teacher.

    L = mean over batch, time and space of ‖s − t‖², the squared norm averaged or summed over channels.

    Args:
        student: feature, (B, C, T, H, W) or any (B, C, ...), projected to the teacher's shape.
        teacher: feature of the same shape.
        reduction: over the channel axis 1; the rest is averaged. "mean" (default), "sum", or "none", which
            returns every squared difference.

    Returns:
        A scalar, or with "none" a tensor of the shape of the features; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ (see `kdvideo.projectors`), an empty batch, integer tensors, or an
            unknown reduction.

    Examples:
        >>> import torch
        >>> feature_mse(torch.ones(2, 8, 4, 7, 7), torch.zeros(2, 8, 4, 7, 7))
        tensor(1.)

    Source:
        Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, arXiv 1412.6550; at layers 2C and 4C of
        S3D-G it is Table 6c of D3D, arXiv 1812.08249.
    """
    return squared_error(student, teacher, reduction)


class FeatureMSE(Loss):
    """Loss object for `feature_mse` between the features of one role; `Student` holds a projector if one is needed.

    Args:
        role: the role that the layers have in `Student` and `Teacher`.
        reduction: as in `feature_mse`.

    Raises:
        ValueError: an unknown reduction; in forward, as `feature_mse`, or an output without that role.

    Examples:
        >>> import torch
        >>> student = Output(None, {"4c": torch.ones(2, 8, 4, 7, 7)})
        >>> teacher = Output(None, {"4c": torch.zeros(2, 8, 4, 7, 7)})
        >>> FeatureMSE("4c").terms(student, teacher)
        {'feature_mse[4c]': tensor(1.)}
    """

    def __init__(self, role: str, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.role = role
        self.reduction: Reduction = reduction
        self.name = f"feature_mse[{role}]"

    def forward(self, student: Output, teacher: Output, *, step: int | None = None) -> Tensor:
        """Compute the loss; `step` is not used."""
        return feature_mse(*features_of(student, teacher, self.role), reduction=self.reduction)
