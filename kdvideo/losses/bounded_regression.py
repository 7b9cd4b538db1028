"""Teacher-bounded regression: the student learns a target only while it is worse than the teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import check_tensor, check_tensors
from kdvideo._numbers import check_numbers, not_negative
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss
from kdvideo.losses.regression import as_rows


def bounded_regression(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    margin: float = 0.0,
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the student's squared error where it exceeds the teacher's, and 0 elsewhere.

    L = 1/N Σ_i b_i ‖s_i − y_i‖²,  b_i = 1 if ‖s_i − y_i‖² + m > ‖t_i − y_i‖², else 0.
    The teacher bounds the student's error and is no target itself: a regression teacher can be far off.

    Args:
        student: outputs, (B,), (B, D), or (B, D, ...) with the outputs of one position on axis 1.
        teacher: outputs of the same shape.
        labels: the true values y, of the same shape.
        margin: m ≥ 0: by how much the student must be better before its term is 0. The paper names no value.
        dim: the axis of the outputs: 1, or -1 for tokens (B, N, D). With (B,) there is none, and dim is not used.
        mask: bool or 0 and 1, one for each position (the shape without the axis `dim`): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a negative margin, shapes that differ, an empty batch, integer tensors, a mask of another shape, a
            `dim` that is no such axis, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([1.0, 3.0]), torch.tensor([2.0, 2.0])
        >>> bounded_regression(student, teacher, labels=torch.zeros(2))  # the first is better than the teacher
        tensor(4.5000)

    Source:
        Chen, Choi, Yu, Han, Chandraker, "Learning Efficient Object Detection Models with Knowledge Distillation",
        NeurIPS 2017, section 3.3.
    """
    check_margin(margin)
    check_tensors(student, teacher)
    check_tensor(labels, "labels")
    if student.shape == teacher.shape and labels.shape != student.shape:
        raise ValueError(
            f"labels must be the true values in the shape of the outputs, {tuple(student.shape)}, got "
            f"{tuple(labels.shape)}"
        )
    labels = labels.unsqueeze(1) if student.ndim == 1 else labels
    student, teacher, dim = as_rows(student, teacher, dim)
    ours, theirs = matched(student, teacher, dim=dim, mask=mask)
    # The same mask: labels of nan in padding would have a gradient of nan.
    labels = matched(student, labels, dim=dim, mask=mask)[1].to(ours.dtype)
    student_error, teacher_error = (ours - labels).square().sum(dim), (theirs - labels).square().sum(dim)
    worse = student_error + margin > teacher_error
    return over_positions(torch.where(worse, student_error, student_error.new_zeros(())), mask, normalizer)


def check_margin(margin: float) -> None:
    """Raise ValueError unless the margin is finite and not negative."""
    check_numbers("finite and not negative", not_negative, margin=margin)


class BoundedRegression(LogitLoss):
    """Loss object for `bounded_regression` between the outputs, held as logits, of two `Output`s; it needs labels.

    Args:
        margin: m ≥ 0.
        dim: the axis of the outputs.
        name: of the term.

    Raises:
        ValueError: a negative margin; in forward, as `bounded_regression`, no labels, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(4), {})
        >>> BoundedRegression()(same, same, labels=torch.zeros(4))
        tensor(0.)
    """

    name = "bounded_regression"
    softmax = False

    def __init__(self, *, margin: float = 0.0, dim: int = 1, name: str | None = None) -> None:
        super().__init__(dim=dim, name=name)
        check_margin(margin)
        self.margin = margin

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `bounded_regression`."""
        return bounded_regression(
            student,
            teacher,
            labels=given.need("labels", self.name),
            margin=self.margin,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
