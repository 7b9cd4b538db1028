"""Kullback-Leibler divergence from the K most probable classes of a teacher, the others as one."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import any_seen, check_temperature, check_tensor, valid
from kdvideo._hints import kind
from kdvideo._tensors import at_least_float32, over_positions
from kdvideo.features import Output
from kdvideo.losses._divergences import kl_terms
from kdvideo.losses._given import Given
from kdvideo.losses.base import Loss

_LEAST = -100.0  # of a log-probability: exp(-100) is 0 in float32, and float16 holds it


class TopK(NamedTuple):
    """The K most probable classes of softmax(t / T), and the probability of all others together.

    Args:
        values: log-probabilities, (..., K), descending.
        indices: class numbers, (..., K).
        rest: log-probability of the other classes together, (...).
        temperature: T, at which they were taken. Those of another temperature cannot be computed from them.

    Examples:
        >>> top = top_k(torch.tensor([[0.6, 0.1, 0.3]]).log(), 1)
        >>> top.indices, top.rest.exp()
        (tensor([[0]]), tensor([0.4000]))
    """

    values: Tensor
    indices: Tensor
    rest: Tensor
    temperature: float

    def logits(self, classes: int) -> Tensor:
        """Make logits in which the other classes share their probability equally.

        t_k = T log p_k, and for the others T log(rest / (classes - K)): softmax(t / T) has the true values of the K.

        Args:
            classes: V, the number of all classes, more than K.

        Returns:
            (..., V), the classes on the last axis.

        Raises:
            ValueError: no more classes than K.
        """
        if not classes > self.values.shape[-1]:
            raise ValueError(
                f"classes must be more than the {self.values.shape[-1]} of the TopK, got {classes}: pass the size of "
                "the vocabulary"
            )
        other = self.temperature * (self.rest - math.log(classes - self.values.shape[-1]))
        dense = other.unsqueeze(-1).repeat(*[1] * self.rest.ndim, classes)
        return dense.scatter(-1, self.indices, self.temperature * self.values)


def top_k(logits: Tensor, k: int, *, temperature: float = 1.0) -> TopK:
    """Take the K most probable classes of logits.

    Args:
        logits: (..., V), the classes on the last axis.
        k: 1 to V - 1.
        temperature: T > 0.

    Returns:
        A `TopK`; float32, or float64 for float64.

    Raises:
        ValueError: k is not between 1 and V - 1, or a temperature that is not positive.

    Examples:
        >>> top = top_k(torch.tensor([[0.6, 0.1, 0.3]]).log(), 2)
        >>> top.indices, top.values.exp(), top.rest.exp()
        (tensor([[0, 2]]), tensor([[0.6000, 0.3000]]), tensor([0.1000]))
    """
    check_temperature(temperature)
    check_tensor(logits, "logits")
    if not isinstance(k, int) or not 1 <= k < logits.shape[-1]:
        raise ValueError(f"k must be between 1 and {logits.shape[-1] - 1}, one less than the classes, got {k!r}")
    log_p = F.log_softmax(at_least_float32(logits) / temperature, -1)
    values, indices = log_p.topk(k, -1)
    return TopK(values.clamp(min=_LEAST), indices, _rest(log_p, indices).clamp(min=_LEAST), temperature)


def soft_target_top_k(
    student: Tensor, teacher: TopK, *, mask: Tensor | None = None, normalizer: float | Tensor | None = None
) -> Tensor:
    """Compute the KL divergence over the teacher's K most probable classes and one class for all others.

    L = T² · mean over positions of Σ_{k in top} p_k (log p_k - log q_k) + r_p (log r_p - log r_q),
    with q = softmax(s / T), r = 1 - Σ_{k in top}. It is at most the divergence over all classes, and equal to it for
    K = V - 1.

    Args:
        student: logits, (..., V), the classes on the last axis.
        teacher: its `TopK`, whose temperature is T.
        mask: bool or 0 and 1, (...): which positions count.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: no tensor or no `TopK`, positions that differ, class numbers that the student does not have (looked
            at where they are on the CPU), a mask of another shape, or a normalizer that is not positive.

    Examples:
        >>> logits = torch.tensor([[3.0, 1.0, 0.0, -1.0]])
        >>> soft_target_top_k(logits, top_k(logits, 2)).abs() < 1e-6
        tensor(True)

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531, over K + 1
        classes.
    """
    if not (isinstance(student, Tensor) and isinstance(teacher, TopK)):
        raise ValueError(
            f"expected student logits and a teacher's TopK, got {kind(student)} and {kind(teacher)}: functional.top_k "
            "makes one of logits"
        )
    if student.shape[:-1] != teacher.rest.shape or student.shape[-1] <= teacher.values.shape[-1]:
        raise ValueError(
            f"student must be logits {(*teacher.rest.shape, 'V')} of more than {teacher.values.shape[-1]} classes, got "
            f"{tuple(student.shape)}"
        )
    if teacher.indices.device.type == "cpu":  # a look at another device would wait for it
        check_indices(teacher, student.shape[-1])
    student = at_least_float32(student)
    if mask is not None:
        student = torch.where(
            valid(mask, student.shape[:-1], student.device).unsqueeze(-1), student, student.new_zeros(())
        )
    log_q = F.log_softmax(student / teacher.temperature, -1)
    theirs = torch.cat([teacher.values, teacher.rest.unsqueeze(-1)], -1).to(log_q)
    ours = torch.cat([log_q.gather(-1, teacher.indices), _rest(log_q, teacher.indices).unsqueeze(-1)], -1)
    return over_positions(kl_terms(theirs, ours).sum(-1), mask, normalizer) * teacher.temperature**2


def check_indices(teacher: TopK, classes: int) -> None:
    """Raise ValueError for class numbers beyond the classes; not in a compiled graph, which cannot look."""
    if any_seen((teacher.indices < 0) | (teacher.indices >= classes)):
        low, high = teacher.indices.min().item(), teacher.indices.max().item()
        raise ValueError(
            f"the teacher's classes must be from 0 to {classes - 1}, as the student's, got {low} to {high}: is it "
            "another vocabulary?"
        )


def _rest(log_probabilities: Tensor, indices: Tensor) -> Tensor:
    # 1 - Σ would round to 0 where the top classes are nearly certain.
    return log_probabilities.scatter(-1, indices, -torch.inf).logsumexp(-1)


class SoftTargetTopK(Loss):
    """Loss object for `soft_target_top_k` against what a `TeacherCache` with `top_k` gives as `Output.raw`.

    The temperature is that of the cache.

    Args:
        name: of the term.

    Raises:
        ValueError: in forward, a teacher whose `raw` is no `TopK`, a student without logits, or as the function.

    Examples:
        >>> logits = torch.tensor([[3.0, 1.0, 0.0, -1.0]])
        >>> criterion = SoftTargetTopK()
        >>> criterion(Output(logits, {}), Output(None, {}, top_k(logits, 2))).abs() < 1e-6
        tensor(True)
    """

    name = "soft_target_top_k"
    _looked = False

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute `soft_target_top_k`."""
        if student.logits is None or not isinstance(teacher.raw, TopK):
            raise ValueError(
                "SoftTargetTopK needs the student's logits and a teacher's TopK as Output.raw, got "
                f"{type(student.logits).__name__} and {type(teacher.raw).__name__}: read a TeacherCache with top_k, or "
                "use Output(None, {}, functional.top_k(logits, k))"
            )
        # Looking waits for the device: the first call is enough, and a compiled graph must not.
        if not torch.compiler.is_compiling() and not self._looked:
            check_indices(teacher.raw, student.logits.shape[-1])
            self._looked = True
        return soft_target_top_k(student.logits, teacher.raw, mask=given.mask, normalizer=given.normalizer)
