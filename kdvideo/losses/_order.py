"""Which of the two outputs of a criterion learns."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from kdvideo.features import Output


def warn_of_order(student: Output, teacher: Output) -> None:
    """Warn if it is the teacher's output that learns and not the student's, as where they are swapped."""
    if torch.is_grad_enabled() and _learns(teacher) and not _learns(student):
        warnings.warn(
            "the teacher's output has a gradient and the student's has none: pass criterion(student(x), teacher(x)) in "
            "this order, or silence this warning if this is meant",
            stacklevel=4,
        )


def _learns(output: Output) -> bool:
    tensors = [getattr(output, "logits", None), *getattr(output, "features", {}).values()]
    return any(isinstance(one, Tensor) and one.requires_grad for one in tensors)
