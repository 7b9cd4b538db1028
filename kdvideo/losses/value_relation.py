"""Value relations of transformers: which tokens have similar values, in every head."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from kdvideo._checks import valid
from kdvideo._numbers import check_count
from kdvideo._tensors import over_positions
from kdvideo.losses._given import Given
from kdvideo.losses._relations import gram, paired
from kdvideo.losses.kinds import FeatureLoss, Roles
from kdvideo.losses.soft_target import kl_elements


def value_relation(
    student: Tensor,
    teacher: Tensor,
    *,
    heads: int,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence between the relations of the values in each head.

    L = mean over heads and queries of KL(R(t) ‖ R(s)), with R(v) = softmax over keys of V·Vᵀ/√d and d the size of a
    head in that network.

    Args:
        student: values (or queries, or keys), tokens (B, N, C), N ≥ 2, the heads one after the other in C.
        teacher: the same of the teacher; its size C may differ.
        heads: A ≥ 1, divides both sizes; 12 in the paper (BERT-base).
        mask: bool or 0 and 1, (B, N): the valid tokens, both as queries and as keys.
        normalizer: what the sum over valid queries is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: another batch or other tokens, a size that `heads` does not divide, a single token, no element,
            integer tensors, a mask of another shape, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> value_relation(torch.zeros(2, 5, 24), torch.zeros(2, 5, 48), heads=12)
        tensor(0.)

    Source:
        Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
        Transformers", NeurIPS 2020, arXiv 2002.10957, equations 7 to 9.
    """
    check_count(heads=heads)
    student, teacher = paired(student, teacher, agree="batch and tokens", axes=lambda shape: tuple(shape[:-1]))
    keys = None if mask is None else valid(mask, student.shape[:-1], student.device)
    relations = [_scores(tokens, heads, keys) for tokens in (student, teacher)]
    divergence = kl_elements(relations[0], relations[1], -1).sum(-1)
    return over_positions(divergence.mean(1), mask, normalizer)


def _scores(tokens: Tensor, heads: int, keys: Tensor | None) -> Tensor:
    if tokens.ndim != 3 or tokens.shape[1] < 2 or tokens.shape[2] % heads:
        raise ValueError(
            f"expected (batch, tokens, size) with at least 2 tokens and a size that heads={heads} divides, got "
            f"{tuple(tokens.shape)}"
        )
    if keys is not None:
        tokens = torch.where(keys[..., None], tokens, 0.0)
    values = rearrange(tokens, "b n (heads size) -> b heads n size", heads=heads)
    scores = gram(values) / math.sqrt(values.shape[-1])
    if keys is None:
        return scores
    # A softmax over nothing is nan: samples without a valid token keep all, and count nowhere.
    hidden = ~(keys | ~keys.any(1, keepdim=True))
    return scores.masked_fill(hidden[:, None, None, :], -torch.inf)


class ValueRelation(FeatureLoss):
    """Loss object for `value_relation` between the values of two layers of different sizes.

    Args:
        roles: of the values; several, whose losses are added up; or a mapping from the student's to the teacher's.
        heads: as in `value_relation`.
        masked: whether the mask of a call holds for these tokens.
        name: of the term; None: "value_relation[roles]".

    Raises:
        ValueError: no role, or a set of them; heads that are not positive; in forward, as `value_relation`, or an
            output without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = (Output(None, {"v": torch.zeros(2, 5, size)}) for size in (24, 48))
        >>> ValueRelation("v", heads=12)(student, teacher)
        tensor(0.)
    """

    kind = "value_relation"

    def __init__(self, roles: Roles, *, heads: int, masked: bool = True, name: str | None = None) -> None:
        super().__init__(roles, masked=masked, name=name)
        check_count(heads=heads)
        self.heads = heads

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `value_relation`."""
        return value_relation(student, teacher, heads=self.heads, mask=given.mask, normalizer=given.normalizer)
