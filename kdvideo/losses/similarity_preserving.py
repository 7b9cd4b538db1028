"""Similarity-preserving distillation: which samples of a batch are alike."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo.losses._given import Given
from kdvideo.losses._relations import gram, paired_samples, unit
from kdvideo.losses.kinds import FeatureLoss


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the squared difference between the similarity matrices of a batch.

    L = 1/B² ‖G_t − G_s‖²_F, with G = A·Aᵀ of the flattened samples, every row divided by its Euclidean norm.

    Args:
        student: feature, (B, C) or any (B, ...), B ≥ 2.
        teacher: feature of the same batch; its other axes may differ.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: another batch, a single sample, no element, or integer tensors.

    Examples:
        >>> import torch
        >>> student = torch.eye(3)
        >>> similarity_preserving(student, 7 * student).item()
        0.0

    Source:
        Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, arXiv 1907.09682.
    """
    student, teacher = paired_samples(student, teacher, samples=2)
    return F.mse_loss(unit(gram(student)), unit(gram(teacher)))


class SimilarityPreserving(FeatureLoss):
    """Loss object for `similarity_preserving` between features of any widths and sizes.

    Takes no mask: pool features over the positions that count before, or tap a pooled layer.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        name: of the term; None: "similarity_preserving[roles]".

    Raises:
        ValueError: no role, or a set of them; in forward, as `similarity_preserving`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = Output(None, {"4c": torch.eye(3)}), Output(None, {"4c": torch.eye(3, 8)})
        >>> SimilarityPreserving("4c")(student, teacher)
        tensor(0.)
    """

    kind = "similarity_preserving"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `similarity_preserving`."""
        return similarity_preserving(student, teacher)
