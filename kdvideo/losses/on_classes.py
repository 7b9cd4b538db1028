"""Losses between networks whose classes, or vocabularies, differ: a map that says which are the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdvideo._checks import check_axis, check_tensors
from kdvideo.features import Output
from kdvideo.losses._given import Given
from kdvideo.losses.base import Loss
from kdvideo.losses.kinds import LogitLoss, StudentLogitLoss, on_logits

Classes = Sequence[int] | Tensor


def common_classes(
    student: Tensor, teacher: Tensor, *, student_index: Classes, teacher_index: Classes, dim: int = 1
) -> tuple[Tensor, Tensor]:
    """Select the classes that two networks have in common, in one order.

    The i-th class of the result is class student_index[i] of the student and class teacher_index[i] of the teacher.

    Args:
        student: logits, (B, K), or (B, K, ...).
        teacher: logits, with a class axis of another size.
        student_index: the student's class numbers, each once; a `range` is not copied but viewed.
        teacher_index: the teacher's, as many.
        dim: the class axis: 1, or -1 for tokens (B, N, K).

    Returns:
        Logits of the student and of the teacher, of one shape if all other axes agree. A softmax over them is
        conditional on the common classes.

    Raises:
        ValueError: indices of different lengths, fewer than 1 class, a class twice, one that there is not, or a `dim`
            that is no such axis.

    Examples:
        >>> import torch
        >>> student, teacher = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 20.0, 30.0, 40.0]])
        >>> common_classes(student, teacher, student_index=[0, 2], teacher_index=[3, 1])
        (tensor([[1., 3.]]), tensor([[40., 20.]]))
    """
    check_tensors(student, teacher)
    ours, theirs = _checked(student_index, teacher_index)
    return _select(student, ours, "student", dim), _select(teacher, theirs, "teacher", dim)


def _checked(student: Classes, teacher: Classes) -> tuple[range | tuple[int, ...], range | tuple[int, ...]]:
    both = [classes if isinstance(classes, range) else tuple(map(int, classes)) for classes in (student, teacher)]
    if len(both[0]) != len(both[1]) or not both[0]:
        raise ValueError(f"student and teacher must name the same classes, got {len(both[0])} and {len(both[1])}")
    for who, classes in zip(("student", "teacher"), both, strict=True):
        if min(classes) < 0 or len(set(classes)) < len(classes):
            raise ValueError(f"the {who}'s classes must be different numbers from 0, got {_short(classes)}")
    return both[0], both[1]


def _short(classes: Sequence[int]) -> str:
    return str(list(classes) if len(classes) <= 8 else [*classes[:8], ...]).replace("Ellipsis", "...")


def _select(
    logits: Tensor, classes: range | tuple[int, ...], who: str, dim: int, index: Tensor | None = None
) -> Tensor:
    check_axis(logits, dim)
    if max(classes) >= logits.shape[dim]:
        raise ValueError(
            f"the {who} has {logits.shape[dim]} classes on axis {dim} of shape {tuple(logits.shape)}, got class "
            f"{max(classes)}"
        )
    if isinstance(classes, range) and classes.step == 1:
        return logits.narrow(dim, classes.start, len(classes))
    if index is None:
        index = torch.tensor(classes, device=logits.device)
    return logits.index_select(dim, index)


class OnClasses(Loss):
    """A loss on the classes that student and teacher have in common.

    Args:
        loss: on logits, such as `SoftTarget(dim=-1)`; its `dim` is the class axis.
        student: the student's class numbers, each once; a `range` is not copied but viewed.
        teacher: the teacher's numbers of the same classes, in the same order.
        name: of the term; None: "on_classes(name of the loss)".

    Labels are numbers of the student's classes and are renumbered; a label without a counterpart becomes -1, which
    losses that read labels refuse: leave its position out by the mask.

    Raises:
        ValueError: as `common_classes`, or a loss that is not on logits; in forward, as that loss, or an output without
            logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output, SoftTarget
        >>> student, teacher = Output(torch.ones(2, 5, 100), {}), Output(torch.ones(2, 5, 128), {})
        >>> OnClasses(SoftTarget(dim=-1), student=range(100), teacher=range(100))(student, teacher)
        tensor(0.)
    """

    def __init__(self, loss: Loss, *, student: Classes, teacher: Classes, name: str | None = None) -> None:
        checked = on_logits(loss, (LogitLoss, StudentLogitLoss), "OnClasses")
        super().__init__(name=name or f"on_classes({loss.name})")
        self.loss = checked
        self.classes = _checked(student, teacher)
        # Not part of a checkpoint: the arguments say it.
        self.register_buffer("student_index", torch.tensor(self.classes[0]), persistent=False)
        self.register_buffer("teacher_index", torch.tensor(self.classes[1]), persistent=False)

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the loss on the common classes.

        Raises:
            ValueError: the student has fewer classes than the map names, or the teacher.
        """
        ours, theirs = self.classes
        indices: tuple[Tensor, Tensor] = (self.student_index, self.teacher_index)  # type: ignore[assignment]
        if given.labels is not None and student.logits is not None and not given.labels.is_floating_point():
            labels = _renumbered(given.labels, indices[0], student.logits.shape[self.loss.dim])
            given = given.with_labels(labels)
        if student.logits is not None:
            student = student._replace(logits=_select(student.logits, ours, "student", self.loss.dim, indices[0]))
        if teacher.logits is not None:
            teacher = teacher._replace(logits=_select(teacher.logits, theirs, "teacher", self.loss.dim, indices[1]))
        return self.loss.compute(student, teacher, given)


def _renumbered(labels: Tensor, index: Tensor, classes: int) -> Tensor:
    """Return the place of every label in the index; -1 where it has none."""
    table = index.new_full((classes,), -1)
    table[index] = torch.arange(len(index), device=index.device)
    known = (labels >= 0) & (labels < classes)
    return torch.where(known, table[torch.where(known, labels, 0).long()], -1)
