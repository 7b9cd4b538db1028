"""Relational knowledge distillation: distances and angles between the samples of a batch."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from kdvideo.losses._given import Given
from kdvideo.losses._relations import gram, paired_samples, unit
from kdvideo.losses.kinds import FeatureLoss


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the Huber loss between relative distances of all pairs of samples.

    L = mean over pairs i ≠ j of h(d_ij(s)/μ(s) − d_ij(t)/μ(t)), with d Euclidean, μ its mean over all pairs, and
    h(x) = x²/2 for |x| ≤ 1, |x| − 1/2 beyond.

    Args:
        student: embedding, (B, C) or any (B, ...), which is flattened; B ≥ 3: with two samples d/μ is always 1.
        teacher: embedding of the same batch; its other axes may differ.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: another batch, fewer than 3 samples, no element, or integer tensors.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0.0], [1.0], [2.0]])
        >>> rkd_distance(student, 7 * student).item()
        0.0

    Source:
        Park, Kim, Lu, Cho, "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068. The paper sums over the
        pairs; the mean makes the weight independent of the batch.
    """
    student, teacher = paired_samples(student, teacher, samples=3)
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def _relative_distances(samples: Tensor) -> Tensor:
    # pdist takes differences, unlike a Gram matrix, and has gradient 0 where two samples are equal.
    distances = F.pdist(samples)
    mean = distances.mean()
    return distances / torch.where(mean > 0, mean, 1.0)


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the Huber loss between the angles of all triples of samples.

    L = mean over distinct i, j, k of h(cos∠s_i s_j s_k − cos∠t_i t_j t_k), h as in `rkd_distance`. An angle with
    a leg of length 0, between equal samples, has cosine 0 and no gradient.

    Args:
        student: embedding, (B, C) or any (B, ...), which is flattened; B ≥ 3. Takes memory B²·(B + C).
        teacher: embedding of the same batch; its other axes may differ.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: another batch, fewer than 3 samples, no element, or integer tensors.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> rkd_angle(student, 7 * student).item()
        0.0

    Source:
        Park, Kim, Lu, Cho, "Relational Knowledge Distillation", CVPR 2019, arXiv 1904.05068. The paper sums over the
        triples; the mean makes the weight independent of the batch.
    """
    student, teacher = paired_samples(student, teacher, samples=3)
    elements = F.smooth_l1_loss(_cosines(student), _cosines(teacher), reduction="none")
    count = len(student)
    same = torch.eye(count, dtype=torch.bool, device=student.device)
    # Where a vertex repeats, the legs are 0 on both sides; only i = k is left to be removed.
    return elements.masked_fill(same, 0.0).sum() / (count * (count - 1) * (count - 2))


def _cosines(samples: Tensor) -> Tensor:
    legs = rearrange(samples, "i c -> 1 i c") - rearrange(samples, "j c -> j 1 c")
    return gram(unit(legs))


class RKDDistance(FeatureLoss):
    """Loss object for `rkd_distance` between embeddings of any widths.

    Takes no mask: pool features over the positions that count before, or tap a pooled layer.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        name: of the term; None: "rkd_distance[roles]".

    Raises:
        ValueError: no role, or a set of them; in forward, as `rkd_distance`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = (Output(None, {"pool": torch.eye(3, width)}) for width in (3, 8))
        >>> RKDDistance("pool")(student, teacher)
        tensor(0.)
    """

    kind = "rkd_distance"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `rkd_distance`."""
        return rkd_distance(student, teacher)


class RKDAngle(FeatureLoss):
    """Loss object for `rkd_angle` between embeddings of any widths.

    Takes no mask: pool features over the positions that count before, or tap a pooled layer.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        name: of the term; None: "rkd_angle[roles]".

    Raises:
        ValueError: no role, or a set of them; in forward, as `rkd_angle`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = (Output(None, {"pool": torch.eye(3, width)}) for width in (3, 8))
        >>> RKDAngle("pool")(student, teacher)
        tensor(0.)
    """

    kind = "rkd_angle"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `rkd_angle`."""
        return rkd_angle(student, teacher)
