"""Probabilistic knowledge transfer: which samples of a batch are each other's neighbors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo.losses._given import Given
from kdvideo.losses._relations import gram, paired_samples, unit
from kdvideo.losses.kinds import FeatureLoss


def pkt(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute the KL divergence between the neighborhoods of every sample.

    L = 1/B Σ_i Σ_{j≠i} p_{j|i} log(p_{j|i} / q_{j|i}), with p_{j|i} = K(t_i, t_j) / Σ_{k≠i} K(t_i, t_k), q the same of
    the student, and K(a, b) = (cos(a, b) + 1)/2.

    Args:
        student: embedding, (B, C) or any (B, ...), which is flattened; B ≥ 3: of two samples each is the
            other's only neighbor.
        teacher: embedding of the same batch; its other axes may differ.

    Returns:
        A scalar; float32, or float64 for float64. A probability q below 1e-7 counts as 1e-7.

    Raises:
        ValueError: another batch, fewer than 3 samples, no element, or integer tensors.

    Examples:
        >>> import torch
        >>> student = torch.eye(3)
        >>> pkt(student, 7 * student).item()
        0.0

    Source:
        Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", ECCV 2018,
        arXiv 1803.10837. The paper sums over i.
    """
    student, teacher = paired_samples(student, teacher, samples=3)
    log_student = _neighbors(student).clamp(min=1e-7).log()
    return F.kl_div(log_student, _neighbors(teacher), reduction="sum") / len(student)


def _neighbors(samples: Tensor) -> Tensor:
    # Rounding can leave a kernel of opposite samples below 0, whose logarithm is nan.
    kernel = ((gram(unit(samples)) + 1) / 2).clamp(min=0)
    kernel = kernel.masked_fill(torch.eye(len(samples), dtype=torch.bool, device=samples.device), 0.0)
    return kernel / kernel.sum(1, keepdim=True).clamp(min=1e-7)


class PKT(FeatureLoss):
    """Loss object for `pkt` between embeddings of any widths.

    Takes no mask: pool features over the positions that count before, or tap a pooled layer.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        name: of the term; None: "pkt[roles]".

    Raises:
        ValueError: no role, or a set of them; in forward, as `pkt`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = (Output(None, {"pool": torch.eye(3, width)}) for width in (3, 8))
        >>> PKT("pool")(student, teacher)
        tensor(0.)
    """

    kind = "pkt"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `pkt`."""
        return pkt(student, teacher)
