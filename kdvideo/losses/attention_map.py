"""Attention maps of transformers: squared error of scores, and KL divergence of probabilities.

Legend: B batch, A heads, N tokens. A map is (B, A, N, N), queries before keys.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import any_seen, valid
from kdvideo._tensors import matched, over_positions, without_excluded
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import FeatureLoss


def attention_mse(
    student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, normalizer: float | Tensor | None = None
) -> Tensor:
    """Compute the squared error between the attention maps of one layer.

    L = mean over heads, queries and keys of (A_s − A_t)². The paper compares scores before the softmax. Scores that
    are -inf in both networks, as above the diagonal of a causal model, count as equal.

    Args:
        student: scores (or probabilities), (B, A, N, N).
        teacher: the same of the teacher, of the same shape: the heads must agree.
        mask: bool or 0 and 1, (B, N): the valid tokens, both as queries and as keys.
        normalizer: what the sum over valid queries is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, no (B, A, N, N) map, an empty batch, integer tensors, a mask of another shape,
            or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> attention_mse(torch.ones(2, 4, 3, 3), torch.zeros(2, 4, 3, 3))
        tensor(1.)

    Source:
        Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", Findings of EMNLP 2020,
        arXiv 1909.10351, equation 7.
    """
    student, teacher, keys = _maps(student, teacher, mask)
    student, teacher = without_excluded(student, teacher)
    elements = (student - teacher).square()
    if keys is None:
        return over_positions(elements.mean((1, 3)), mask, normalizer)
    return over_positions(elements.mean(1).sum(-1) / keys.sum((1, 2, 3)).clamp(min=1)[:, None], mask, normalizer)


def attention_kl(
    student: Tensor, teacher: Tensor, *, mask: Tensor | None = None, normalizer: float | Tensor | None = None
) -> Tensor:
    """Compute the KL divergence between the attention probabilities of one layer.

    L = mean over heads and queries of Σ_k A_t log(A_t / A_s).

    Args:
        student: probabilities, (B, A, N, N), that sum to 1 over the last axis.
        teacher: the same of the teacher, of the same shape: the heads must agree, the hidden sizes need not.
        mask: bool or 0 and 1, (B, N): the valid tokens, both as queries and as keys.
        normalizer: what the sum over valid queries is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64. A probability of the student below 1e-12 counts as 1e-12.

    Raises:
        ValueError: shapes that differ, no (B, A, N, N) map, an empty batch, integer tensors, a mask of another shape,
            or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> maps = torch.full((2, 4, 3, 3), 1 / 3)
        >>> attention_kl(maps, maps)
        tensor(0.)

    Source:
        Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
        Transformers", NeurIPS 2020, arXiv 2002.10957, equation 6.
    """
    student, teacher, _ = _maps(student, teacher, mask)
    elements = F.kl_div(student.clamp(min=1e-12).log(), teacher, reduction="none")
    return over_positions(elements.sum(-1).mean(1), mask, normalizer)


def _check_probabilities(student: Tensor, teacher: Tensor, mask: Tensor | None) -> None:
    student, teacher, _ = _maps(student, teacher, mask)
    for who, probabilities in (("student", student), ("teacher", teacher)):
        # Dropout, which scales them, is no fault: up to 2.
        if any_seen((probabilities < 0) | (probabilities > 2)):
            raise ValueError(
                f"attention maps must be probabilities, got scores of the {who}: apply softmax(-1), or use "
                "attention_mse"
            )


def _maps(student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Check two maps and set what concerns other than valid keys to 0 in both; return the keys as (B, 1, 1, N)."""
    student, teacher = matched(student, teacher)
    if student.ndim != 4:
        raise ValueError(f"attention maps must be (batch, heads, queries, keys), got {tuple(student.shape)}")
    if mask is None:
        return student, teacher, None
    if student.shape[2] != student.shape[3]:
        raise ValueError(f"a mask needs maps of as many queries as keys, got {tuple(student.shape)}")
    tokens = valid(mask, torch.Size((student.shape[0], student.shape[3])), student.device)
    keep = tokens[:, None, :, None] & tokens[:, None, None, :]
    student, teacher = torch.where(keep, student, 0.0), torch.where(keep, teacher, 0.0)
    return student, teacher, tokens[:, None, None, :]


class AttentionMSE(FeatureLoss):
    """Loss object for `attention_mse`; a mapping of roles names the teacher's layer for each of the student's.

    Args:
        roles: of the maps; several, whose losses are added up; or a mapping from the student's to the teacher's.
        masked: whether the mask of a call holds for these tokens.
        name: of the term; None: "attention_mse[roles]".

    Raises:
        ValueError: no role, or a set of them; in forward, as `attention_mse`, or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"1": torch.ones(2, 4, 3, 3), "3": torch.ones(2, 4, 3, 3)})
        >>> AttentionMSE({"1": "3"}).terms(same, same)
        {'attention_mse[1:3]': tensor(0.)}
    """

    kind = "attention_mse"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `attention_mse`."""
        return attention_mse(student, teacher, mask=given.mask, normalizer=given.normalizer)


class AttentionKL(FeatureLoss):
    """Loss object for `attention_kl`; the paper takes the last layers of both networks.

    Args:
        roles: of the maps; several, whose losses are added up; or a mapping from the student's to the teacher's.
        masked: whether the mask of a call holds for these tokens.
        name: of the term; None: "attention_kl[roles]".

    Raises:
        ValueError: no role, or a set of them; in forward, as `attention_kl`, maps that are no probabilities (looked at
            in the first call), or an output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"last": torch.full((2, 4, 3, 3), 1 / 3)})
        >>> AttentionKL("last")(same, same)
        tensor(0.)
    """

    kind = "attention_kl"
    _looked = False

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `attention_kl`."""
        # Looking waits for the device: the first call is enough, and a compiled graph must not.
        if not torch.compiler.is_compiling() and not self._looked:
            _check_probabilities(student, teacher, given.mask)
            self._looked = True
        return attention_kl(student, teacher, mask=given.mask, normalizer=given.normalizer)
