"""Infer the projectors of a student from one dry run of student and teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo._hints import check_mapping, kind
from kdvideo.features import FeatureExtractor, unknown_roles
from kdvideo.projectors.channels import PointwiseConv
from kdvideo.projectors.dry_run import recorded, untouched
from kdvideo.projectors.layouts import Layout, layout
from kdvideo.projectors.planning import projector
from kdvideo.projectors.sizes import Interpolate, Pool
from kdvideo.projectors.tokens import OnGrid, PooledVector, ToGrid, ToTokens

Grids = Mapping[str, Sequence[int]]


class Inferred(dict[str, nn.Module]):
    """Role -> projector, for `Student(..., projectors=)`; `print` shows the plan.

    Args:
        projectors: role -> module.
        rows: of the plan: role, shape of the student's feature, of the teacher's, what the projector does.

    Attributes:
        rows: of the plan as it is printed, the headings ("role", "student", "teacher", "projector") first.

    Examples:
        >>> projectors = Inferred({"map": nn.Identity()}, [("map", "(2, 8)", "(2, 8)", "identity")])
        >>> print(projectors)
        role  student  teacher  projector
        map   (2, 8)   (2, 8)   identity
        >>> list(projectors), projectors.rows[1][3]
        (['map'], 'identity')
    """

    def __init__(self, projectors: Mapping[str, nn.Module], rows: Sequence[tuple[str, str, str, str]]) -> None:
        super().__init__(projectors)
        self.rows = [("role", "student", "teacher", "projector"), *rows]

    def __str__(self) -> str:
        """Return the plan as a table."""
        widths = [max(len(row[column]) for row in self.rows) for column in range(3)]
        return "\n".join(
            "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[3]])
            for row in self.rows
        )


def infer(
    student: FeatureExtractor,
    teacher: FeatureExtractor,
    *inputs: Any,
    teacher_inputs: Tensor | Sequence[Any] | None = None,
    grids: Grids = MappingProxyType({}),
    teacher_grids: Grids = MappingProxyType({}),
) -> Inferred:
    """Run student and teacher once and return a projector for every role that both have.

    Maps of another size are averaged down, then mapped to the teacher's channels, then interpolated up, axis by axis;
    tokens lose their class token and become a map, or a map becomes tokens (its mean stands for a class token);
    a pooled vector is the mean over positions. Features of equal shape get `nn.Identity`. The run leaves buffers (also
    BatchNorm statistics), random numbers, modes and gradients as they are; both networks run in evaluation mode.

    Args:
        student: `Student` or `FeatureExtractor` without projectors.
        teacher: `Teacher` or `FeatureExtractor`.
        inputs: of the student.
        teacher_inputs: of the teacher, a tensor or a tuple; None: the student's.
        grids: role -> (T, H, W) or (H, W) of the student's tokens, where the run does not show it. It finds the
            patch embedding by itself if that is a convolution.
        teacher_grids: the same for the teacher.

    Returns:
        Role -> projector, on the device of the student's feature, in the dtype of its parameters.

    Raises:
        ValueError: networks that are not wrapped, or swapped; a student that has projectors; teacher inputs that are
            no tensor or tuple; grids of a role that is none, or no mapping; no common role, tokens whose grid is needed
            and unknown, channels on the last axis of a map, or a pooled vector where the teacher has a map.

    Examples:
        >>> import torch
        >>> import kdvideo as kd
        >>> net, large = (nn.Sequential(nn.Conv2d(3, c, 3, stride=c // 8), nn.ReLU()) for c in (8, 16))
        >>> student = kd.Student(net, {"1": "map"}, logits=None)
        >>> projectors = infer(student, kd.Teacher(large, {"1": "map"}), torch.zeros(2, 3, 33, 33))
        >>> print(projectors)
        role  student         teacher          projector
        map   (2, 8, 31, 31)  (2, 16, 16, 16)  pool to (16, 16), conv 8 -> 16
        >>> student = kd.Student(student.remove(), {"1": "map"}, logits=None, projectors=projectors)
        >>> student(torch.zeros(2, 3, 33, 33)).features["map"].shape
        torch.Size([2, 16, 16, 16])
    """
    for who, given in (("student", student), ("teacher", teacher)):
        if not isinstance(given, FeatureExtractor):
            raise ValueError(f"{who} must be wrapped, got {kind(given)}: kd.Student or kd.Teacher, with layers=")
    learn = [any(p.requires_grad for p in one.model.parameters()) for one in (student, teacher)]
    if learn == [False, True]:
        raise ValueError(
            "the student must come first, got a frozen network before one that learns: infer(student, teacher, ...)"
        )
    _check_options(student, teacher_inputs, grids=grids, teacher_grids=teacher_grids)
    theirs = inputs if teacher_inputs is None else teacher_inputs
    theirs = (theirs,) if isinstance(theirs, Tensor) else tuple(theirs)
    with untouched(student, teacher, inputs=(inputs, theirs)):
        ours_seen, ours_maps = recorded(student, inputs)
        theirs_seen, theirs_maps = recorded(teacher, theirs)
        roles = [role for role in ours_seen if role in theirs_seen]
        if not roles:
            raise ValueError(
                f"student and teacher must have a role in common, got {list(ours_seen)} and {list(theirs_seen)}"
            )
        for option, named, seen in (("grids", grids, ours_seen), ("teacher_grids", teacher_grids, theirs_seen)):
            if unknown := sorted(set(named) - set(seen)):
                raise unknown_roles(option, unknown, seen)
        # Numbers of their own, so that those drawn next by the caller are not the projectors' weights again.
        torch.default_generator.manual_seed(int(torch.randint(2**62, ())))
        found, rows = {}, []
        for role in roles:
            ours = _layout(role, "student", ours_seen, student, ours_maps, grids)
            goal = _layout(role, "teacher", theirs_seen, teacher, theirs_maps, teacher_grids)
            steps = _steps(role, ours, goal)
            module = steps[0] if len(steps) == 1 else nn.Sequential(*steps)
            found[role] = module.to(ours_seen[role].device, _dtype(student, ours_seen[role]))
            rows.append((role, str(ours.shape), str(goal.shape), ", ".join(map(_words, steps))))
            _check(role, found[role], ours_seen[role], goal)
    return Inferred(found, rows)


def _check_options(student: FeatureExtractor, teacher_inputs: object, **grids: object) -> None:
    if len(getattr(student, "projectors", ())):
        raise ValueError(
            f"the student must have no projectors, got some for {list(student.projectors)}: build it without "  # type: ignore[arg-type]
            "projectors=, and once more with those that are inferred"
        )
    if teacher_inputs is not None and not isinstance(teacher_inputs, (Tensor, tuple, list)):
        raise ValueError(
            f"teacher_inputs must be a tensor or a tuple, got {kind(teacher_inputs)}: pass the inputs in order"
        )
    for option, given in grids.items():
        check_mapping(option, given, '{"role": (14, 14)}')


def _layout(
    role: str, who: str, seen: dict[str, Tensor], extractor: FeatureExtractor, maps: Any, grids: Grids
) -> Layout:
    try:
        return layout(seen[role], extractor.model, maps, grids.get(role))
    except ValueError as error:
        raise ValueError(f"role {role!r} of the {who}: {error}") from None


def _steps(role: str, student: Layout, teacher: Layout) -> list[nn.Module]:
    try:
        return projector(student, teacher) or [nn.Identity()]
    except ValueError as error:
        raise ValueError(f"role {role!r}, {student.shape} to {teacher.shape}: {error}") from None


def _check(role: str, module: nn.Module, feature: Tensor, teacher: Layout) -> None:
    given = module.eval()(feature.to(_dtype(module, feature))).shape
    module.train()
    assert given[1:] == teacher.shape[1:], f"the projector of {role!r} gives {given} and not {teacher.shape}"


def _dtype(module: nn.Module, feature: Tensor) -> torch.dtype:
    return next((one.dtype for one in module.parameters() if one.is_floating_point()), feature.dtype)


def _words(module: nn.Module) -> str:
    match module:
        case PointwiseConv():
            return f"conv {module.in_channels} -> {module.out_channels}"
        case nn.Linear():
            return f"linear {module.in_features} -> {module.out_features}"
        case Pool() | Interpolate():
            return f"{type(module).__name__.lower()} to {module.size}"
        case ToGrid():
            return f"grid {module.size}" + (f" without {module.prefix} tokens before it" if module.prefix else "")
        case ToTokens():
            return "tokens" + (f" after {module.prefix} means over the map" if module.prefix else "")
        case OnGrid():
            return f"{_words(module.body)} on the grid {module.grid.size}, {module.grid.prefix} tokens before it kept"
        case PooledVector():
            return "mean over positions"
        case nn.Sequential():
            return ", ".join(map(_words, module))
        case _:
            return "same shape"
