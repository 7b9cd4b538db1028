"""Overhaul of feature distillation: a margin ReLU on the teacher, and no error where ReLU removes both."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from kdvideo._tensors import matched
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import OneLayerLoss, Whole, check_whole, for_each_channel, over_examples
from kdvideo.losses.kinds import Roles


def ofd(
    student: Tensor,
    teacher: Tensor,
    *,
    margin: Tensor,
    reduction: Whole = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Compute the partial squared error to the teacher's feature behind a margin ReLU.

    L = 1/B Σ_i Σ_j d(max(t_ij, m_c), s_ij), d(t, s) = 0 where s ≤ t ≤ 0, else (t − s)², with a margin m_c < 0 for
    each channel. Where the teacher is negative, the student must be negative too, but no further than the margin.

    Args:
        student: feature before the ReLU, (B, C, ...), projected to the teacher's shape (1×1 convolution and batch norm
            in the paper).
        teacher: feature before the ReLU, of the same shape.
        margin: m, (C,), at most 0: the mean of the teacher's negative values in a channel; see `ofd_margin`.
        reduction: over channels and positions: "sum" as in the paper (default), or "mean"; the batch is averaged.
        dim: the channel axis: 1, or -1 for tokens.
        mask: bool or 0 and 1, one for each position: where it counts.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, another number of margins than of channels, an empty batch, integer tensors, an
            unknown reduction, a mask of another shape, or a `dim` that is no such axis.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[-3.0, -3.0, 2.0]])
        >>> ofd(torch.tensor([[-2.0, 0.0, 0.0]]), teacher, margin=torch.tensor([-1.0, -1.0, -1.0]))  # 0 + 1 + 4
        tensor(5.)

    Source:
        Heo, Kim, Yun, Park, Kwak, Choi, "A Comprehensive Overhaul of Feature Distillation", ICCV 2019,
        arXiv 1904.01866, equations 2 to 5.
    """
    check_whole(reduction)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    target = torch.maximum(teacher, for_each_channel(margin, teacher, dim))
    # Filled before the square, so that nothing flows where the student is low enough.
    difference = (target - student).masked_fill((student <= target) & (target <= 0), 0.0)
    return over_examples(difference.square(), reduction, dim=dim, mask=mask)


def ofd_margin(mean: Tensor, deviation: Tensor) -> Tensor:
    """Compute the mean of the negative values of normally distributed channels, E[x | x < 0].

    m = μ − σ φ(μ/σ) / Φ(−μ/σ), with φ and Φ the density and the distribution of a standard normal.

    Args:
        mean: μ, the bias of the batch norm before the ReLU, (C,).
        deviation: σ > 0, the absolute weight of that batch norm, (C,).

    Returns:
        m, (C,), at most 0, in the dtype of the deviations.

    Raises:
        ValueError: means and deviations of different shapes, or a deviation that is not positive.

    Examples:
        >>> import torch
        >>> ofd_margin(torch.zeros(1), torch.ones(1))  # −√(2/π)
        tensor([-0.7979])
    """
    if mean.shape != deviation.shape or not (deviation > 0).all():
        raise ValueError(f"deviations must be positive, one for each mean, got {deviation.tolist()}")
    mean, sigma = mean.detach().double(), deviation.detach().double()
    # φ(a) / Φ(-a) by the scaled error function: far from 0 both underflow, but not their ratio.
    hazard = math.sqrt(2 / math.pi) / torch.special.erfcx(mean / sigma / math.sqrt(2))
    margin: Tensor = (mean - sigma * hazard).clamp(max=0.0)
    return margin.to(deviation.dtype)


class OFD(OneLayerLoss):
    """Loss object for `ofd`.

    Args:
        roles: the role of the layer, or one student's role: teacher's role. Tap before the ReLU: the batch norm.
        norm: the teacher's batch norm before the ReLU, from whose weight and bias the margins follow; or the margins.
        reduction: as in `ofd`; the published weights are for "sum".
        dim: the channel axis.
        masked: whether the mask of a call holds for this feature.
        name: of the term; None: "ofd[role]".

    Raises:
        ValueError: several roles, positive margins, an unknown reduction; in forward, as `ofd`.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"4c": torch.randn(2, 8, 7, 7)})
        >>> OFD("4c", nn.BatchNorm2d(8))(same, same)
        tensor(0.)
    """

    kind = "ofd"
    margin: Tensor

    def __init__(
        self,
        roles: Roles,
        norm: nn.Module | Tensor,
        *,
        reduction: Whole = "sum",
        dim: int = 1,
        masked: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, masked=masked, name=name)
        check_whole(reduction)
        margin = norm.detach().clone() if isinstance(norm, Tensor) else _margin_of(norm)
        if margin.ndim != 1 or (margin > 0).any():
            raise ValueError(f"margins must be at most 0, one for each channel, got {margin.tolist()}")
        self.register_buffer("margin", margin)
        self.dim = dim
        self.reduction: Whole = reduction

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `ofd`."""
        return ofd(student, teacher, margin=self.margin, reduction=self.reduction, dim=self.dim, mask=given.mask)


def _margin_of(norm: nn.Module) -> Tensor:
    weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
        raise ValueError(f"norm must have a weight and a bias, got {type(norm).__name__}: pass the margins instead")
    # A channel of weight 0 is constant: its deviation is next to nothing.
    return ofd_margin(bias, weight.abs().clamp(min=1e-6))
