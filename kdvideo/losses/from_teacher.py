"""A loss against one of several teachers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from kdvideo._hints import kind
from kdvideo.features import Output
from kdvideo.losses._given import Given
from kdvideo.losses.base import Loss, check_loss


class FromTeacher(Loss):
    """A loss against one of the teachers whose outputs `ensemble.merge` joined, so that one sum learns from all.

    Args:
        teacher: its name there.
        loss: any loss, or a sum of them; it sees that teacher's `Output` alone.
        name: of the term; None: "teacher:name of the loss".

    Raises:
        ValueError: no loss; in forward, outputs that are not merged, or without an `Output` of that teacher; otherwise
            as the loss.

    Examples:
        >>> import torch
        >>> from kdvideo import SoftTarget, ensemble
        >>> student, flow, depth = (Output(torch.ones(2, 5), {}) for _ in range(3))
        >>> criterion = FromTeacher("flow", SoftTarget()) + 0.5 * FromTeacher("depth", SoftTarget())
        >>> list(criterion.terms(student, ensemble.merge({"flow": flow, "depth": depth})))
        ['flow:soft_target', '0.5*depth:soft_target']
    """

    def __init__(self, teacher: str, loss: Loss, *, name: str | None = None) -> None:
        check_loss(loss)
        super().__init__(name=name or f"{teacher}:{loss.name}")
        self.teacher, self.loss = teacher, loss

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the loss against that teacher."""
        outputs = teacher.raw if isinstance(teacher.raw, Mapping) else {}
        output = outputs.get(self.teacher)
        if self.teacher in outputs and not isinstance(output, Output):
            raise ValueError(
                f"the output of {self.teacher!r} must be an Output, got {kind(output)}: wrap the model in kd.Teacher "
                "and pass ensemble.merge of what it returns"
            )
        if not isinstance(output, Output):
            raise ValueError(
                f"the teachers must have {self.teacher!r}, got {list(outputs)}: pass "
                f"ensemble.merge({{{self.teacher!r}: output, ...}})"
            )
        return self.loss.compute(student, output, given)
