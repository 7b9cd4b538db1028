"""`soft_target` for large vocabularies from hidden states: the logits of one chunk of positions at a time.

Legend: B batch, N positions, V vocabulary, C width of the hidden states.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from kdvideo._checks import check_classes, check_temperature, check_tensors, valid
from kdvideo._tensors import matched, over_positions
from kdvideo.losses.soft_target import kl_elements
from kdvideo.losses.soft_target_chunked import check_chunks

Head = Callable[[Tensor], Tensor]


def soft_target_from_hidden(
    student: Tensor,
    teacher: Tensor,
    *,
    student_head: Head,
    teacher_head: Head,
    temperature: float = 4.0,
    chunks: int = 32,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute `soft_target` of tokens from hidden states, without the logits of all positions.

    L = T² · 1/N Σ_i KL(softmax(g(h'_i) / T) ‖ softmax(f(h_i) / T)), f and g the heads.
    Each head runs on one chunk of positions, and the student's once more in the backward pass.

    Args:
        student: hidden states, (B, N, C), or (B, C).
        teacher: hidden states, (B, N, C'), where C' may differ from C; no gradient passes through the teacher's head.
        student_head: hidden states to logits, as `model.lm_head`; its parameters get their gradient.
        teacher_head: the same of the teacher, with as many classes; `torch.nn.Identity()` if `teacher` holds logits.
        temperature: T > 0.
        chunks: how many chunks the positions are divided into. More hold less memory and run smaller products.
        mask: bool or 0 and 1, one for each position: where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a temperature or a number of chunks that is not positive, positions or classes that differ, a single
            class, an empty batch, a mask of another shape, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> from kdvideo.functional import soft_target
        >>> f, g = torch.nn.Linear(4, 100), torch.nn.Linear(8, 100)
        >>> student, teacher = torch.randn(2, 3, 4), torch.randn(2, 3, 8)
        >>> value = soft_target_from_hidden(student, teacher, student_head=f, teacher_head=g)
        >>> torch.allclose(value, soft_target(f(student), g(teacher), dim=-1))
        True

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.
    """
    check_temperature(temperature)
    check_chunks(chunks)
    check_tensors(student, teacher)
    shape = student.shape[:-1]
    if teacher.shape[:-1] != shape or student.ndim < 2 or student.numel() == 0:
        raise ValueError(
            f"student and teacher must be non-empty hidden states of the same positions, (batch, ..., width), got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )

    def values(ours: Tensor, theirs: Tensor) -> Tensor:
        with torch.no_grad():
            target = teacher_head(theirs)
        logits, target = matched(student_head(ours), target, dim=-1)
        check_classes(logits, -1)
        return kl_elements(logits / temperature, target / temperature, -1).sum(-1)

    if mask is not None:  # before the heads, whose gradient would be nan for padding of nan
        keep = valid(mask, shape, student.device).unsqueeze(-1)
        student, teacher = student.where(keep, student.new_zeros(())), teacher.where(keep, teacher.new_zeros(()))
    pieces = zip(*(rearrange(one, "... c -> (...) c").chunk(chunks) for one in (student, teacher)), strict=True)
    divergence = torch.cat([checkpoint(values, *piece, use_reentrant=False) for piece in pieces])
    return over_positions(divergence.view(shape), mask, normalizer) * temperature**2
