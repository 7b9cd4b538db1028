"""Access to the logits and features of a pair of `Output`s."""

from __future__ import annotations

from torch import Tensor

from kdvideo.features import Output


def logits_of(student: Output, teacher: Output) -> tuple[Tensor, Tensor]:
    """Return the logits of both; ValueError where one of them has none."""
    if student.logits is None or teacher.logits is None:
        who = "student" if student.logits is None else "teacher"
        raise ValueError(f"the {who} returned no logits: do not build it with logits=None, or drop this loss")
    return student.logits, teacher.logits


def features_of(student: Output, teacher: Output, role: str) -> tuple[Tensor, Tensor]:
    """Return the features of one role of both; ValueError where one of them has none."""
    for who, output in (("student", student), ("teacher", teacher)):
        if role not in output.features:
            raise ValueError(f"the {who} has no feature {role!r}; its roles are {list(output.features)}")
    return student.features[role], teacher.features[role]
