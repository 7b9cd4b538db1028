"""Knowledge review: the teacher's early features from the student's later ones, fused from the last stage down."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdvideo._tensors import matched
from kdvideo.features import Output
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import (
    check_positive,
    conv_of,
    full_precision,
    norm_of,
    one_for_each,
    paired,
    pooled_to,
)
from kdvideo.losses.kinds import FeatureLoss, Roles, feature_of


def hcl(student: Tensor, teacher: Tensor, *, levels: Sequence[int] = (4, 2, 1)) -> Tensor:
    """Compute the hierarchical context loss: squared errors of maps and of their pooled versions.

    L = Σ_l w_l · mean (P_l(s) − P_l(t))² / Σ_l w_l, with the map itself (w = 1) and then its average pools to
    4×4, 2×2 and 1×1 cells (w = 1/2, 1/4, 1/8). A level as large as the map is left out; in clips, T is pooled to as
    many cells, at most T.

    Args:
        student: feature, (B, C, ...), fused and projected to the teacher's shape.
        teacher: feature of the same shape.
        levels: cells of each axis, from fine to coarse.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, more than 3 axes after the channels, levels that are not positive, an empty
            batch, or integer tensors.

    Examples:
        >>> import torch
        >>> hcl(torch.ones(2, 3, 8, 8), torch.zeros(2, 3, 8, 8))
        tensor(1.)

    Source:
        Chen, Liu, Zhao, Jia, "Distilling Knowledge via Knowledge Review", CVPR 2021, arXiv 2104.09044, section 3.3;
        the weights are those of the authors' code.
    """
    student, teacher = matched(student, teacher)
    size = student.shape[2:]
    if len(size) > 3 or any(level < 1 for level in levels):
        raise ValueError(f"expected (B, C, up to 3 axes) and positive levels, got {tuple(student.shape)}, {levels}")
    total, weight, weights = F.mse_loss(student, teacher), 1.0, 1.0
    for level in levels:
        if level >= max(size, default=0):
            continue
        weight /= 2
        weights += weight
        cells = [min(level, axis) for axis in size]
        total = total + weight * F.mse_loss(pooled_to(student, cells), pooled_to(teacher, cells))
    return total / weights


class Fusion(nn.Module):
    """Attention-based fusion (ABF) of one stage of the student with what the later stages gave.

    Args:
        student_channels: of this stage.
        teacher_channels: of this stage.
        middle: of the fused feature.
        axes: of the maps, 1 to 3.
        last: whether there is no later stage.
    """

    def __init__(self, student_channels: int, teacher_channels: int, *, middle: int, axes: int, last: bool) -> None:
        super().__init__()
        conv, norm = conv_of(axes), norm_of(axes)
        self.narrow = nn.Sequential(conv(student_channels, middle, 1, bias=False), norm(middle))
        self.attend = nn.Identity() if last else nn.Sequential(conv(2 * middle, 2, 1), nn.Sigmoid())
        self.widen = nn.Sequential(conv(middle, teacher_channels, 3, padding=1, bias=False), norm(teacher_channels))

    def forward(self, feature: Tensor, later: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """Return the feature in the teacher's shape, and the fused one for the next, earlier stage."""
        fused = self.narrow(feature)
        if later is not None:
            later = F.interpolate(later, size=fused.shape[2:], mode="nearest")
            attention = self.attend(torch.cat([fused, later], dim=1))
            fused = fused * attention[:, :1] + later * attention[:, 1:]
        if fused.shape[2:] != size:
            fused = F.interpolate(fused, size=size, mode="nearest")
        return self.widen(fused), fused


class ReviewKD(FeatureLoss):
    """The sum of `hcl` over stages, each of the student fused with all later ones; optimize its parameters too.

    The student needs no projector: the fusion changes channels and size. Batch norm follows the mode of the criterion.

    Args:
        roles: of the stages, from the first to the last; or a mapping from the student's roles to the teacher's.
        student_channels: of each stage.
        teacher_channels: of each stage.
        middle: channels of the fused features; 512 in the authors' ImageNet settings.
        axes: of the maps: 1, 2 for (B, C, H, W), 3 for (B, C, T, H, W).
        levels: as in `hcl`.
        name: of the term; None: "review_kd[roles]".

    Raises:
        ValueError: another number of channels than of roles, sizes that are not positive; in forward, features with
            other channels or axes.

    Examples:
        >>> import torch
        >>> student = Output(None, {"3": torch.randn(2, 8, 8, 8), "4": torch.randn(2, 16, 4, 4)})
        >>> teacher = Output(None, {"3": torch.randn(2, 16, 8, 8), "4": torch.randn(2, 32, 4, 4)})
        >>> ReviewKD(("3", "4"), (8, 16), (16, 32), middle=8)(student, teacher).shape
        torch.Size([])
    """

    kind = "review_kd"

    def __init__(
        self,
        roles: Roles,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        *,
        middle: int = 512,
        axes: int = 2,
        levels: Sequence[int] = (4, 2, 1),
        name: str | None = None,
    ) -> None:
        super().__init__(roles, name=name)
        stages = len(self.roles)
        if not (one_for_each(self.roles, student_channels) and one_for_each(self.roles, teacher_channels)):
            raise ValueError(
                f"there must be channels for each of {stages} roles, got {student_channels} and {teacher_channels}: a "
                "tuple, as (8,) for one"
            )
        check_positive(middle=middle, channels=min(*student_channels, *teacher_channels))
        self.channels = list(zip(student_channels, teacher_channels, strict=True))
        self.axes, self.levels = axes, tuple(levels)
        self.fusions = nn.ModuleList(
            Fusion(*channels, middle=middle, axes=axes, last=stage == stages - 1)
            for stage, channels in enumerate(self.channels)
        )

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Fuse from the last stage to the first and add up `hcl`."""
        ours = [feature_of("student", student, role) for role in self.roles]
        theirs = [feature_of("teacher", teacher, role) for role in self.roles.values()]
        values: list[Tensor] = []
        later: Tensor | None = None
        for stage in reversed(range(len(ours))):
            feature, target = paired(ours[stage], theirs[stage], *self.channels[stage])
            if feature.ndim != self.axes + 2:
                raise ValueError(f"axes={self.axes} was given a feature of shape {tuple(feature.shape)}")
            with full_precision(feature):
                projected, later = self.fusions[stage](feature, later, target.shape[2:])
            values.append(hcl(projected, target, levels=self.levels))
        return torch.stack(values).sum(0)
