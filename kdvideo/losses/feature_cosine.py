"""Cosine distance between features of any layer."""

from __future__ import annotations

from torch import Tensor

from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses._relations import unit
from kdvideo.losses.kinds import FeatureLoss, Roles


def feature_cosine(
    student: Tensor,
    teacher: Tensor,
    *,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the cosine distance between the features at each position.

    L = mean over positions of 1 − s·t / (‖s‖ ‖t‖). Where a feature is zero the distance is 1, without gradient.

    Args:
        student: feature, (B, C) or any (B, C, ...), projected to the teacher's shape.
        teacher: feature of the same shape.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).
        mask: bool or 0 and 1, one for each position: where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, an empty batch, integer tensors, a mask of another shape, a `dim` that is no
            such axis, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> feature_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 7.0]]))
        tensor(1.)

    Source:
        The cosine loss between hidden states of Sanh, Debut,
        Chaumond, Wolf, "DistilBERT, a Distilled Version of BERT", 2019, arXiv 1910.01108.
    """
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    return over_positions(cosine_distance(student, teacher, dim), mask, normalizer)


def cosine_distance(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Compute 1 − cosine along an axis."""
    return 1 - (unit(student, dim) * unit(teacher, dim)).sum(dim)


class FeatureCosine(FeatureLoss):
    """Loss object for `feature_cosine` between features; `Student` holds a projector where one is needed.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        dim: the channel axis.
        masked: whether the mask of a call holds for these features; their positions must then have its shape.
        name: of the term; None: "feature_cosine[roles]".

    Raises:
        ValueError: no role, or a set of them; in forward, as `feature_cosine`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = Output(None, {"pool": torch.eye(4)}), Output(None, {"pool": 2 * torch.eye(4)})
        >>> FeatureCosine("pool")(student, teacher)
        tensor(0.)
    """

    kind = "feature_cosine"

    def __init__(self, roles: Roles, *, dim: int = 1, masked: bool = True, name: str | None = None) -> None:
        super().__init__(roles, masked=masked, name=name)
        self.dim = dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `feature_cosine`."""
        return feature_cosine(student, teacher, dim=self.dim, mask=given.mask, normalizer=given.normalizer)
