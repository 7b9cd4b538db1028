"""Cosine distance between embeddings, or features, of the student and the teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._tensors import matched, over_positions
from kdvideo.losses.base import Given
from kdvideo.losses.kinds import FeatureLoss, Roles


def cosine_distance(
    student: Tensor,
    teacher: Tensor,
    *,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute one less the cosine of the angle between the student's and the teacher's vectors.

    L = mean over batch, time and space of 1 − s · t / (‖s‖ ‖t‖).

    Args:
        student: embeddings (B, C), or features (B, C, H, W), (B, C, T, H, W): a vector for each position.
        teacher: of the same shape.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).
        mask: bool or 0 and 1, one for each position (the shape without the channel axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar in [0, 2]; float32, or float64 for float64. A vector of zeros has no direction: its distance is 1,
        with no gradient.

    Raises:
        ValueError: shapes that differ (see `kdvideo.projectors`), an empty batch, integer tensors, or a mask of another
            shape.

    Examples:
        >>> import torch
        >>> cosine_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(1.)

    Source:
        Sanh, Debut, Chaumond, Wolf, "DistilBERT, a distilled version of BERT", 2019, arXiv 1910.01108: its third term,
        on hidden states.
    """
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    # Divided by almost nothing, the gradient of a dead feature would be 1e8.
    alive = (student != 0).any(dim, keepdim=True)
    student = torch.where(alive, student, student.new_zeros(()))
    return over_positions(1 - F.cosine_similarity(student, teacher, dim=dim), mask, normalizer)


class CosineDistance(FeatureLoss):
    """Loss object for `cosine_distance` between features; `Student` holds a projector where one is needed.

    Args:
        roles: the role that the layers have in `Student` and `Teacher`; several, whose losses are added up; or a
            mapping from the student's roles to the teacher's.
        dim: the channel axis.
        masked: whether the mask of a call holds for these features; their positions must then have its shape.
        name: of the term; None: "cosine_distance[roles]".

    Raises:
        ValueError: in forward, as `cosine_distance`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = Output(None, {"x": torch.ones(2, 4)}), Output(None, {"x": -torch.ones(2, 4)})
        >>> CosineDistance("x").terms(student, teacher)
        {'cosine_distance[x]': tensor(2.)}
    """

    kind = "cosine_distance"

    def __init__(self, roles: Roles, *, dim: int = 1, masked: bool = True, name: str | None = None) -> None:
        super().__init__(roles, masked=masked, name=name)
        self.dim = dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `cosine_distance`."""
        return cosine_distance(student, teacher, dim=self.dim, mask=given.mask, normalizer=given.normalizer)
