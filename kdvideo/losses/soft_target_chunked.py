"""`soft_target` for large vocabularies, computed in chunks of positions.

Legend: B batch, N positions, V vocabulary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from kdvideo._checks import check_classes, check_pair, check_temperature, valid
from kdvideo._tensors import at_least_float32, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss


def soft_target_chunked(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 4.0,
    chunks: int = 128,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute `soft_target` of tokens without a float32 copy of the logits.

    L = T² · 1/N Σ_i KL(softmax(t_i / T) ‖ softmax(s_i / T)), value and gradient as `soft_target` with dim=-1.
    Beside the logits and the student's gradient, which has their dtype, at most 4 float32 copies of one chunk are held;
    `soft_target` holds about 10 of everything. The backward pass computes the softmax again.

    Args:
        student: logits, (B, N, V), or (B, V): the classes are on the last axis. A view such as `logits[:, :-1]` is
            not copied.
        teacher: logits of the same shape; they get no gradient.
        temperature: T > 0.
        chunks: how many chunks the positions of the batch are divided into, at least; 128 keeps the extra memory
            under a tenth of the logits'. Fewer are faster where the vocabulary is small.
        mask: bool or 0 and 1, one for each position: where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a temperature or a number of chunks that is not positive, shapes that differ, a single class, an
            empty batch, integer tensors, a mask of another shape, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> from kdvideo.functional import soft_target
        >>> student, teacher = torch.randn(2, 4, 6, 100)
        >>> torch.allclose(soft_target_chunked(student, teacher), soft_target(student, teacher, dim=-1))
        True

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.
    """
    check_temperature(temperature)
    check_chunks(chunks)
    check_pair(student, teacher, dim=-1)
    check_classes(student, -1)
    shape = student.shape[:-1]
    keep = None if mask is None else valid(mask, shape, student.device)
    if student.is_contiguous() and teacher.is_contiguous():
        student, teacher = student.view(-1, student.shape[-1]), teacher.view(-1, teacher.shape[-1])
        keep = None if keep is None else keep.flatten()
    values = _Chunked.apply(student, teacher, keep, temperature, chunks)  # type: ignore[no-untyped-call]
    return over_positions(values.view(shape), mask, normalizer) * temperature**2


class _Chunked(torch.autograd.Function):
    """KL divergence of every position; the gradient (q - p) / T is computed again, chunk by chunk."""

    @staticmethod
    def forward(student: Tensor, teacher: Tensor, keep: Tensor | None, temperature: float, chunks: int) -> Tensor:
        dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
        values = student.new_empty(student.shape[:-1], dtype=dtype)
        for piece in _pieces(values.shape, chunks):
            log_q, log_p = (_scaled(one, piece, keep, temperature).log_softmax(-1) for one in (student, teacher))
            # In place: the copies of a chunk that live at once are what the memory is measured in.
            difference, p = log_q.neg_().add_(log_p), log_p.exp_()
            values[piece] = difference.mul_(p).masked_fill_(p == 0, 0.0).sum(-1)
        return values

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        student, teacher, keep, ctx.temperature, ctx.chunks = inputs
        ctx.save_for_backward(student, teacher, keep)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        (outer,) = gradients
        student, teacher, keep = ctx.saved_tensors
        gradient = torch.empty_like(student, memory_format=torch.contiguous_format)
        for piece in _pieces(outer.shape, ctx.chunks):
            ours, theirs = (_scaled(one, piece, keep, ctx.temperature).softmax(-1) for one in (student, teacher))
            gradient[piece] = ours.sub_(theirs).mul_((outer[piece] / ctx.temperature).unsqueeze(-1))
        return gradient, None, None, None, None


def _pieces(shape: torch.Size, chunks: int) -> Iterator[tuple[int | slice, ...]]:
    """Index chunks of the last axis of positions, one by one along the others."""
    *others, length = shape
    step = math.ceil(length / math.ceil(chunks / math.prod(others)))
    for index in itertools.product(*map(range, others)):
        for start in range(0, length, step):
            yield *index, slice(start, start + step)


def _scaled(logits: Tensor, piece: tuple[int | slice, ...], keep: Tensor | None, temperature: float) -> Tensor:
    chunk = at_least_float32(logits[piece])
    if keep is not None:
        chunk = torch.where(keep[piece].unsqueeze(-1), chunk, chunk.new_zeros(()))
    return chunk / temperature


def check_chunks(chunks: int) -> None:
    """Raise ValueError unless the number of chunks is positive."""
    if chunks < 1:
        raise ValueError(f"chunks must be at least 1, got {chunks}")


class SoftTargetChunked(LogitLoss):
    """Loss object for `soft_target_chunked` between the logits of two `Output`s; the classes are on the last axis.

    Args:
        temperature: T > 0.
        chunks: as in `soft_target_chunked`.
        name: of the term.

    Raises:
        ValueError: a temperature or a number of chunks that is not positive; in forward, as `soft_target_chunked`, or
            an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 3, 100), {})
        >>> SoftTargetChunked(temperature=1.0)(same, same)
        tensor(0.)
    """

    name = "soft_target_chunked"

    def __init__(self, *, temperature: float = 4.0, chunks: int = 128, name: str | None = None) -> None:
        super().__init__(dim=-1, name=name)
        check_temperature(temperature)
        check_chunks(chunks)
        self.temperature, self.chunks = temperature, chunks

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `soft_target_chunked`."""
        return soft_target_chunked(
            student,
            teacher,
            temperature=self.temperature,
            chunks=self.chunks,
            mask=given.mask,
            normalizer=given.normalizer,
        )
