"""Teacher-free distillation: a virtual teacher that is always right and otherwise uniform."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdvideo._checks import Reduction, check_classes, check_reduction, check_temperature, checked_labels
from kdvideo._numbers import check_numbers
from kdvideo._tensors import matched, reduced
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import StudentLogitLoss
from kdvideo.losses.soft_target import kl_elements


def virtual_teacher(
    student: Tensor,
    *,
    labels: Tensor,
    correct: float = 0.99,
    temperature: float = 20.0,
    reduction: Reduction = "sum",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the KL divergence from a designed teacher to the student, both softened.

    L = 1/N Σ_i KL(softmax(log d_i / T) ‖ softmax(s_i / T)),
    d_ik = a for the true class k = y_i, and (1 − a) / (K − 1) for every other. There is no T², as in the paper.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        labels: the true classes from 0 to K − 1, one for each position: (B,), or (B, ...).
        correct: a, in (1/K, 1); the paper asks for 0.9 at least, and 0.99 is in the authors' code.
        temperature: T > 0; 20 in the paper.
        reduction: over the class axis; the rest is averaged. "sum" is the divergence; "mean" divides it
            by K; "none" reduces nothing and returns every summand, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts. The labels
            elsewhere may be anything, such as -100.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64. Classes whose
        logit is -inf count 0, and the others of d keep their ratios.

    Raises:
        ValueError: labels of another shape or out of range, an a or temperature out of range, a single class, an empty
            batch, integer logits, an unknown reduction, a mask of another shape, a `dim` that is no such axis, or a
            normalizer that is not positive.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0.9, 0.1]]).log()
        >>> virtual_teacher(student, labels=torch.tensor([0]), correct=0.9).abs() < 1e-6
        tensor(True)

    Source:
        Yuan, Tay, Li, Wang, Feng, "Revisiting Knowledge Distillation via Label Smoothing Regularization", CVPR 2020,
        arXiv 1909.11723: Tf-KD with manually designed regularization.
    """
    check_temperature(temperature)
    student, _ = matched(student, student, dim=dim, mask=mask)
    check_classes(student, dim)
    classes = student.shape[dim]
    wanted = f"above 1/K = {1 / classes:g} and below 1"
    check_numbers(wanted, lambda value: 1 / classes < value < 1, correct=correct)
    labels = checked_labels(labels, student, dim, mask)
    advantage = math.log(correct) - math.log((1 - correct) / (classes - 1))
    teacher = torch.zeros_like(student).scatter(dim, labels, advantage).masked_fill(student == -torch.inf, -torch.inf)
    elements = kl_elements(student / temperature, teacher / temperature, dim)
    return reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer)


class VirtualTeacher(StudentLogitLoss):
    """Loss object for `virtual_teacher`; it needs labels, and the teacher's output is not used.

    Args:
        correct: a, in (1/K, 1).
        temperature: T > 0.
        reduction: as in `virtual_teacher`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a temperature that is not positive or an unknown reduction; in forward, as `virtual_teacher`, no
            labels, or a student without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student = Output(torch.ones(1, 2), {})
        >>> VirtualTeacher(temperature=1.0)(student, Output(None, {}), labels=torch.tensor([1]))
        tensor(0.6371)
    """

    name = "virtual_teacher"

    def __init__(
        self,
        *,
        correct: float = 0.99,
        temperature: float = 20.0,
        reduction: Reduction = "sum",
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(dim=dim, name=name)
        check_temperature(temperature)
        check_reduction(reduction)
        self.correct, self.temperature = correct, temperature
        self.reduction: Reduction = reduction

    def of(self, student: Tensor, given: Given) -> Tensor:
        """Compute `virtual_teacher`."""
        return virtual_teacher(
            student,
            labels=given.need("labels", self.name),
            correct=self.correct,
            temperature=self.temperature,
            reduction=self.reduction,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
