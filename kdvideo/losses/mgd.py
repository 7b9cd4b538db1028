"""Masked generative distillation: the teacher's feature from the student's, of which random parts are hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from kdvideo._checks import check_tensor
from kdvideo._numbers import check_numbers
from kdvideo._tensors import matched
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import (
    OneLayerLoss,
    Whole,
    check_positive,
    check_whole,
    conv_of,
    full_precision,
    over_examples,
)
from kdvideo.losses.kinds import Roles

Hidden = Literal["positions", "channels"]


def mgd(
    student: Tensor,
    teacher: Tensor,
    *,
    generate: Callable[[Tensor], Tensor],
    keep: Tensor,
    reduction: Whole = "sum",
    mask: Tensor | None = None,
) -> Tensor:
    """Compute the squared error between the teacher's feature and one generated from parts of the student's.

    L = 1/B Σ_i ‖t_i − G(s_i · M_i)‖², with M_i of 0 and 1 and G a small network. The square is summed over channels
    and positions, as in the paper; "mean" divides by their number.

    Args:
        student: feature, (B, C, ...), projected to the teacher's shape.
        teacher: feature of the same shape.
        generate: G, which keeps the shape.
        keep: M, of 0 and 1, that expands to the shape: (B, 1, ...) hides positions, (B, C, 1, ...) channels. `MGD`
            draws it anew at each call.
        reduction: over channels and positions; the batch is averaged.
        mask: bool or 0 and 1, one for each position: where the error counts, whether or not it is hidden.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, a `keep` that does not expand to them, an empty batch, integer tensors, an
            unknown reduction, or a mask of another shape.

    Examples:
        >>> import torch
        >>> student, teacher = torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
        >>> mgd(student, teacher, generate=lambda x: x, keep=torch.zeros(2, 1, 4, 4))
        tensor(48.)

    Source:
        Yang, Li, Shao, Shi, Yuan, Yuan, "Masked Generative Distillation", ECCV 2022, arXiv 2205.01529,
        equations 2 to 4.
    """
    check_whole(reduction)
    student, teacher = matched(student, teacher, mask=mask)
    check_tensor(keep, "keep")
    if keep.ndim != student.ndim or any(k not in (1, n) for k, n in zip(keep.shape, student.shape, strict=True)):
        raise ValueError(f"keep must expand to {tuple(student.shape)}, got {tuple(keep.shape)}")
    with full_precision(student):
        generated = generate(student * keep.to(student.dtype))
    if generated.shape != teacher.shape:
        raise ValueError(f"generate must keep the shape {tuple(teacher.shape)}, got {tuple(generated.shape)}")
    return over_examples((teacher - generated).square(), reduction, mask=mask)


def random_keep(feature: Tensor, hidden_ratio: float, hidden: Hidden = "positions") -> Tensor:
    """Draw what MGD keeps: each position, or channel, is hidden with probability `hidden_ratio`; PyTorch's RNG.

    Examples:
        >>> import torch
        >>> random_keep(torch.zeros(2, 3, 4, 4), 0.0).shape, random_keep(torch.zeros(2, 3, 4, 4), 0.5, "channels").shape
        (torch.Size([2, 1, 4, 4]), torch.Size([2, 3, 1, 1]))
    """
    batch, channels, *size = feature.shape
    shape = (batch, 1, *size) if hidden == "positions" else (batch, channels, *[1] * len(size))
    return torch.rand(shape, device=feature.device) >= hidden_ratio


class MGD(OneLayerLoss):
    """Loss object for `mgd`; its generator, two 3×3 convolutions with a ReLU between, learns with the student.

    Args:
        roles: the role of the layer, or one student's role: teacher's role.
        channels: C of the teacher's feature.
        axes: of the maps: 1, 2 for (B, C, H, W), 3 for (B, C, T, H, W).
        hidden_ratio: λ from 0 to 1; 0.65 for two-stage detectors and segmentation, 0.15 for classification.
        hidden: "positions", hidden in all channels (dense prediction), or whole "channels" (the authors'
            classification code).
        reduction: as in `mgd`; the published weights are for "sum".
        masked: whether the mask of a call holds for this feature.
        name: of the term; None: "mgd[role]".

    Raises:
        ValueError: several roles, a ratio outside 0 to 1, an unknown option; in forward, as `mgd`.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student = Output(None, {"4c": torch.randn(2, 8, 7, 7)})
        >>> MGD("4c", 8)(student, student).shape
        torch.Size([])
    """

    kind = "mgd"

    def __init__(
        self,
        roles: Roles,
        channels: int,
        *,
        axes: int = 2,
        hidden_ratio: float = 0.65,
        hidden: Hidden = "positions",
        reduction: Whole = "sum",
        masked: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, masked=masked, name=name)
        check_positive(channels=channels)
        check_numbers("from 0 to 1", lambda value: 0 <= value <= 1, hidden_ratio=hidden_ratio)
        if hidden not in get_args(Hidden):
            raise ValueError(f"hidden must be one of {get_args(Hidden)}, got {hidden!r}")
        check_whole(reduction)
        self.hidden_ratio, self.hidden = hidden_ratio, hidden
        self.reduction: Whole = reduction
        conv = conv_of(axes)
        self.generator = nn.Sequential(
            conv(channels, channels, 3, padding=1), nn.ReLU(), conv(channels, channels, 3, padding=1)
        )

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `mgd` for parts drawn anew."""
        matched(student, teacher)
        keep = random_keep(student, self.hidden_ratio, self.hidden)
        return mgd(student, teacher, generate=self.generator, keep=keep, reduction=self.reduction, mask=given.mask)
