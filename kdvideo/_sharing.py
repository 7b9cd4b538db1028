"""Who holds which parameters: a student cannot learn what a teacher froze."""

from __future__ import annotations

import warnings
import weakref

from torch import nn

_frozen: weakref.WeakValueDictionary[int, nn.Parameter] = weakref.WeakValueDictionary()
_students: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def enter_student(student: nn.Module, model: nn.Module) -> None:
    """Remember a student; ValueError names parameters of its network that a `Teacher` froze."""
    shared = [
        name for name, p in model.named_parameters() if not p.requires_grad and _frozen.get(id(p)) is p
    ]  # what the user froze before the teacher came is meant to stay
    if shared:
        raise ValueError(
            f"the student must not share parameters that a Teacher froze, got {_shown(shared)}: give the teacher a "
            "copy, Teacher(copy.deepcopy(model)); for one network with and without an adapter run a FeatureExtractor "
            "under torch.no_grad() as the teacher"
        )
    _students.add(student)


def leave_student(student: nn.Module) -> None:
    """Forget a student, whose network is free again."""
    _students.discard(student)


def enter_teacher(model: nn.Module) -> None:
    """Remember which parameters a teacher is about to freeze; UserWarning names those that a student learns."""
    learned = {id(p) for student in _students for p in student.parameters() if p.requires_grad}
    shared = [name for name, p in model.named_parameters() if id(p) in learned]
    if shared:
        warnings.warn(
            f"the teacher freezes parameters of a Student, which learns them no more: {_shown(shared)}; give the "
            "teacher a copy, Teacher(copy.deepcopy(model)), or call student.remove() first where it has learned enough",
            stacklevel=3,
        )
    _frozen.update({id(p): p for p in model.parameters() if p.requires_grad})


def _shown(names: list[str]) -> str:
    return f"{len(names)} of them ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
