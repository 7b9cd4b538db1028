"""Neuron selectivity transfer: the distribution of the channels' maps, by maximum mean discrepancy."""

from __future__ import annotations

from torch import Tensor

from kdvideo._numbers import check_count, check_numbers, not_negative
from kdvideo.losses._given import Given
from kdvideo.losses._relations import channel_maps, paired_positions, product, unit
from kdvideo.losses.kinds import FeatureLoss, Roles


def nst(student: Tensor, teacher: Tensor, *, degree: int = 2, offset: float = 0.0, dim: int = 1) -> Tensor:
    """Compute the squared maximum mean discrepancy between the maps of all channels.

    L = mean over samples of E k(t, t') + E k(s, s') − 2 E k(s, t) over pairs of channels, with
    k(x, y) = (x·y + c)^d of maps of unit length.

    Args:
        student: feature, (B, C, H, W) or any (B, C, ...) with at least 2 positions.
        teacher: feature of the same batch and positions; its number of channels may differ.
        degree: d ≥ 1; 2 in the paper's best kernel.
        offset: c ≥ 0; 0 in the paper.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: another batch or other positions, a single position, a degree that is no positive integer, a
            negative offset, no element, integer tensors, or a `dim` that is no such axis.

    Examples:
        >>> import torch
        >>> student = torch.eye(4)[None]
        >>> nst(student, 7 * student).item()
        0.0

    Source:
        Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", 2017,
        arXiv 1707.01219. The paper's objective has λ/2 before L.
    """
    _check(degree, offset)
    student, teacher = (unit(channel_maps(x, dim)) for x in paired_positions(student, teacher, dim))

    def mean_kernel(left: Tensor, right: Tensor) -> Tensor:
        return (product(left, right.mT) + offset).pow(degree).mean()

    return mean_kernel(student, student) + mean_kernel(teacher, teacher) - 2 * mean_kernel(student, teacher)


def _check(degree: int, offset: float) -> None:
    check_count(degree=degree)
    check_numbers("at least 0 and finite", not_negative, offset=offset)


class NST(FeatureLoss):
    """Loss object for `nst` between features of different widths: no projector is needed.

    Takes no mask: padded positions that are not 0 count.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        degree: as in `nst`.
        offset: as in `nst`.
        dim: the channel axis.
        name: of the term; None: "nst[roles]".

    Raises:
        ValueError: no role, or a set of them; a degree or offset out of range; in forward, as `nst`, or an output
            without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = (Output(None, {"4c": torch.ones(2, width, 2, 2)}) for width in (4, 16))
        >>> NST("4c")(student, teacher)
        tensor(0.)
    """

    kind = "nst"

    def __init__(
        self, roles: Roles, *, degree: int = 2, offset: float = 0.0, dim: int = 1, name: str | None = None
    ) -> None:
        super().__init__(roles, name=name)
        _check(degree, offset)
        self.degree, self.offset, self.dim = degree, offset, dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `nst`."""
        return nst(student, teacher, degree=self.degree, offset=self.offset, dim=self.dim)
