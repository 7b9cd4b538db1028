"""Attention transfer: the normalized energy of a feature at each position."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import valid
from kdvideo._numbers import check_numbers
from kdvideo._tensors import over_positions
from kdvideo.losses._given import Given
from kdvideo.losses._relations import paired_positions, unit
from kdvideo.losses.kinds import FeatureLoss, Roles


def attention_transfer(
    student: Tensor,
    teacher: Tensor,
    *,
    power: float = 2.0,
    per_frame: bool = False,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the squared distance between normalized attention maps.

    L = mean over positions of (Q_s/‖Q_s‖ − Q_t/‖Q_t‖)², with Q = Σ_c |A_c|^p, one map for each sample.

    Args:
        student: feature, (B, C, H, W) or any (B, C, ...) with at least 2 positions.
        teacher: feature of the same batch and positions; its number of channels may differ.
        power: p ≥ 1; 2 in all experiments of the paper.
        per_frame: for (B, C, T, H, W), normalize one spatial map for each frame, so that frames weigh the same;
            False, our default, one spatio-temporal map for each clip.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).
        mask: bool or 0 and 1, one for each position: where it counts. Other positions are in no norm.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: another batch or other positions, a single position, a power below 1, `per_frame` for what has no
            frames, a mask of another shape, an empty batch, integer tensors, a `dim` that is no such axis, or a
            normalizer that is not positive.

    Examples:
        >>> import torch
        >>> student, teacher = torch.ones(2, 8, 4, 4), torch.ones(2, 32, 4, 4)
        >>> attention_transfer(student, teacher).item()
        0.0

    Source:
        Zagoruyko and Komodakis, "Paying More Attention to Attention", ICLR 2017, arXiv 1612.03928. Equation 2 shows
        the norm of the difference; the authors' code squares it and averages over positions, as is done here.
    """
    _check(power, per_frame)
    student, teacher = paired_positions(student, teacher, dim)
    if per_frame and (student.ndim != 5 or dim % 5 not in (1, 4) or student.select(dim, 0)[0, 0].numel() < 2):
        raise ValueError(
            f"per_frame needs (B, C, T, H, W) features of at least 2 positions in a frame, got {tuple(student.shape)}: "
            "leave it out"
        )
    maps = [_attention(feature, power, per_frame, dim, mask) for feature in (student, teacher)]
    return over_positions((maps[0] - maps[1]).square(), mask, normalizer)


def _attention(feature: Tensor, power: float, per_frame: bool, dim: int, mask: Tensor | None) -> Tensor:
    if mask is not None:
        # Before the power: padding of nan or inf must reach no gradient.
        keep = valid(mask, feature.select(dim, 0).shape, feature.device).unsqueeze(dim)
        feature = torch.where(keep, feature, 0.0)
    energy = feature.abs().pow(power).sum(dim)
    return unit(energy, tuple(range(2 if per_frame else 1, energy.ndim)))


def _check(power: float, per_frame: bool) -> None:
    check_numbers("at least 1 and finite", lambda value: 1 <= value < float("inf"), power=power)
    if not isinstance(per_frame, bool):
        raise ValueError(f"per_frame must be True or False, got {per_frame!r}")


class AttentionTransfer(FeatureLoss):
    """Loss object for `attention_transfer` between features of different widths: no projector is needed.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        power: as in `attention_transfer`.
        per_frame: as in `attention_transfer`.
        dim: the channel axis.
        masked: whether the mask of a call holds for these features; their positions must then have its shape.
        name: of the term; None: "attention_transfer[roles]".

    Raises:
        ValueError: no role, or a set of them; a power below 1; in forward, as `attention_transfer`, or an output
            without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = (Output(None, {"4c": torch.ones(2, width, 4, 7, 7)}) for width in (8, 32))
        >>> AttentionTransfer("4c").terms(student, teacher)
        {'attention_transfer[4c]': tensor(0.)}
    """

    kind = "attention_transfer"

    def __init__(
        self,
        roles: Roles,
        *,
        power: float = 2.0,
        per_frame: bool = False,
        dim: int = 1,
        masked: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, masked=masked, name=name)
        _check(power, per_frame)
        self.power, self.per_frame, self.dim = power, per_frame, dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `attention_transfer`."""
        return attention_transfer(
            student,
            teacher,
            power=self.power,
            per_frame=self.per_frame,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
