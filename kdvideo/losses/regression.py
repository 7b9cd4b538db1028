"""Regression distillation: the teacher's outputs are the targets."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.loss import _Loss

from kdvideo._checks import Reduction, check_reduction, check_tensors
from kdvideo._hints import kind
from kdvideo._tensors import matched, reduced
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss


def regression(
    student: Tensor,
    teacher: Tensor,
    *,
    error: Callable[..., Tensor] = F.smooth_l1_loss,
    reduction: Reduction = "mean",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the error of the student's outputs against the teacher's.

    L = 1/N Σ_i mean_d error(s_id − t_id); by default smooth L1, x² / 2 where |x| < 1 and |x| − ½ elsewhere.

    Args:
        student: outputs, (B,), (B, D), or (B, D, ...) with the outputs of one position on axis 1.
        teacher: outputs of the same shape.
        error: a function (student, teacher, reduction="none") of torch.nn.functional: `F.smooth_l1_loss` (as for the
            boxes of Chen et al.), `F.l1_loss`, `F.mse_loss`, `F.huber_loss`, or one with its options bound by
            `functools.partial`.
        reduction: over the axis of the outputs; the rest is averaged. "mean" (default), "sum", or "none", which
            returns every error.
        dim: the axis of the outputs: 1, or -1 for tokens (B, N, D). With (B,) there is none, and dim is not used.
        mask: bool or 0 and 1, one for each position (the shape without the axis `dim`): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the outputs; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, an empty batch, integer tensors, an unknown reduction, an error that reduces or
            is no function, a mask of another shape, a `dim` that is no such axis, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> regression(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0]))  # mean of 0.5 and 1.5
        tensor(1.)

    Source:
        Chen, Choi, Yu, Han, Chandraker, "Learning Efficient Object Detection Models with Knowledge Distillation",
        NeurIPS 2017, for the smooth L1; see `bounded_regression` for their bound.
    """
    check_error(error)
    check_tensors(student, teacher)
    shape = student.shape
    student, teacher, dim = as_rows(student, teacher, dim)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    elements = error(student, teacher, reduction="none")
    if elements.shape != student.shape:
        raise ValueError(
            f"error must return one value for each output, {tuple(student.shape)}, got {tuple(elements.shape)}: give a "
            'function that takes reduction="none"'
        )
    value = reduced(elements, reduction, dim=dim, mask=mask, normalizer=normalizer)
    return value.reshape(shape) if reduction == "none" else value


def check_error(error: object) -> None:
    """Raise ValueError unless an error is a function; the modules of torch.nn take no reduction when called."""
    if isinstance(error, _Loss) or not callable(error) or isinstance(error, type):
        raise ValueError(
            f"error must be a function of torch.nn.functional, got {kind(error)}: F.l1_loss, or functools.partial("
            "F.huber_loss, delta=2.0) for one with options"
        )


def as_rows(student: Tensor, teacher: Tensor, dim: int) -> tuple[Tensor, Tensor, int]:
    """Give outputs of shape (B,) an axis of size 1 and return that axis; leave others as they are."""
    if student.ndim == 1 and student.shape == teacher.shape:
        return student.unsqueeze(1), teacher.unsqueeze(1), 1
    return student, teacher, dim


class Regression(LogitLoss):
    """Loss object for `regression` between the outputs, held as logits, of two `Output`s.

    Args:
        error: as in `regression`.
        reduction: as in `regression`.
        dim: the axis of the outputs.
        name: of the term.

    Raises:
        ValueError: an unknown reduction, an error that is no function; in forward, as `regression`, or an output
            without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = Output(torch.zeros(4), {}), Output(torch.full((4,), 3.0), {})
        >>> Regression(error=F.l1_loss)(student, teacher)
        tensor(3.)
    """

    name = "regression"
    softmax = False

    def __init__(
        self,
        *,
        error: Callable[..., Tensor] = F.smooth_l1_loss,
        reduction: Reduction = "mean",
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(dim=dim, name=name)
        check_error(error)
        check_reduction(reduction)
        self.error = error
        self.reduction: Reduction = reduction

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `regression`."""
        return regression(
            student,
            teacher,
            error=self.error,
            reduction=self.reduction,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
