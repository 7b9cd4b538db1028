"""Inter-channel correlation: which channels of a feature are alike."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import check_tensors
from kdvideo.losses._given import Given
from kdvideo.losses._relations import channel_maps, check_dim, gram, paired, unit
from kdvideo.losses.kinds import FeatureLoss, Roles


def ickd(student: Tensor, teacher: Tensor, *, dim: int = 1) -> Tensor:
    """Compute the squared difference between the inter-channel correlations of each sample.

    L = 1/(B·C) Σ_b ‖G(s_b) − G(t_b)‖²_F, with G = F·Fᵀ of the (C, P) feature, every row divided by its norm.

    Args:
        student: feature, (B, C, H, W) or any (B, C, ...), C ≥ 2, projected to the teacher's channels.
        teacher: feature of the same batch and channels; its positions may differ.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: another batch or other channels, a single channel, another number of axes, no element, integer
            tensors, or a `dim` that is no such axis.

    Examples:
        >>> import torch
        >>> student = torch.eye(3)[None]
        >>> ickd(student, 7 * student).item()
        0.0

    Source:
        Liu et al., "Exploring Inter-Channel Correlation for Diversity-Preserved Knowledge Distillation", ICCV 2021,
        arXiv 2202.03680. The paper divides by C² and does not state the division of the rows, which the authors' code
        has, with 1/(B·C).
    """
    check_tensors(student, teacher)
    check_dim(student, dim)
    check_dim(teacher, dim)
    student, teacher = paired(
        student,
        teacher,
        agree="the batch, the channels and the number of axes",
        axes=lambda shape: (shape[0], shape[dim], len(shape)),
    )
    if student.shape[dim] < 2:
        raise ValueError(f"a correlation of channels needs at least 2, got shape {tuple(student.shape)}")
    rows = [unit(gram(channel_maps(feature, dim))) for feature in (student, teacher)]
    return F.mse_loss(rows[0], rows[1], reduction="sum") / (rows[0].shape[0] * rows[0].shape[1])


class ICKD(FeatureLoss):
    """Loss object for `ickd` between features of the same channels; `Student` holds a projector where one is needed.

    Takes no mask: padded positions that are not 0 count.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        dim: the channel axis.
        name: of the term; None: "ickd[roles]".

    Raises:
        ValueError: no role, or a set of them; in forward, as `ickd`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = (Output(None, {"4c": torch.ones(2, 8, size, 7, 7)}) for size in (4, 8))
        >>> ICKD("4c")(student, teacher)
        tensor(0.)
    """

    kind = "ickd"

    def __init__(self, roles: Roles, *, dim: int = 1, name: str | None = None) -> None:
        super().__init__(roles, name=name)
        self.dim = dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `ickd`."""
        return ickd(student, teacher, dim=self.dim)
