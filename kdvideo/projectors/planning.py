"""The steps from the layout of a student's feature to the layout of the teacher's."""

from __future__ import annotations

from torch import nn

from kdvideo.projectors.channels import conv, linear
from kdvideo.projectors.layouts import Layout
from kdvideo.projectors.sizes import Interpolate, pool
from kdvideo.projectors.tokens import OnGrid, PooledVector, ToGrid, ToTokens

_NAME_GRID = "name the grids of the tokens in infer(..., grids=, teacher_grids=)"


def projector(student: Layout, teacher: Layout) -> list[nn.Module]:
    """Return the modules that lead from the student's feature to the teacher's shape; none where they are alike.

    Raises:
        ValueError: there is no such way (the message says why).
    """
    if student.tokens == teacher.tokens and student.shape[1:] == teacher.shape[1:]:
        return []
    if teacher.tokens:
        return _to_tokens(student, teacher)
    if teacher.grid == ():
        return _to_vector(student, teacher.channels)
    assert teacher.grid is not None
    return _to_map(student, teacher.grid, teacher.channels)


def _to_vector(student: Layout, channels: int) -> list[nn.Module]:
    widths = [] if student.channels == channels else [linear(student.channels, channels)]
    if student.grid == () and not student.tokens:
        return [*widths]
    if not student.tokens:
        return [PooledVector(), *widths]
    # Without a known grid, as in text, every token is one of a row.
    grid, prefix = (student.grid, student.prefix) if student.grid else ((student.shape[1],), 0)
    return [ToGrid(grid, prefix=prefix), PooledVector(), *widths]


def _to_tokens(student: Layout, teacher: Layout) -> list[nn.Module]:
    widths = [] if student.channels == teacher.channels else [linear(student.channels, teacher.channels)]
    if not student.tokens:
        return [*_to_map(student, _known(teacher), teacher.channels), ToTokens(prefix=teacher.prefix)]
    if student.shape[1] == teacher.shape[1] and (
        None in (student.grid, teacher.grid) or (student.grid, student.prefix) == (teacher.grid, teacher.prefix)
    ):
        return [*widths]
    grid, goal = _known(student), _known(teacher)
    if student.prefix != teacher.prefix or len(grid) != len(goal):
        return [*_to_map(student, goal, teacher.channels), ToTokens(prefix=teacher.prefix)]
    down, up = _resizes(grid, goal)
    return [OnGrid(nn.Sequential(*down, *up), grid, prefix=student.prefix), *widths]


def _to_map(student: Layout, goal: tuple[int, ...], channels: int) -> list[nn.Module]:
    if student.grid == ():
        raise ValueError(
            "a pooled vector has no positions: tap an earlier layer of the student, or a pooled one of both"
        )
    grid = _known(student)
    steps: list[nn.Module] = [ToGrid(grid, prefix=student.prefix)] if student.tokens else []
    if len(grid) != len(goal):
        steps += _frames(grid, goal)
        grid = (1, *grid) if len(grid) < len(goal) else grid[1:]
    down, up = _resizes(grid, goal)
    # Mapped at the smaller size: the result is the same, the cost is not.
    return [*steps, *down, *([] if student.channels == channels else [conv(student.channels, channels)]), *up]


def _frames(grid: tuple[int, ...], goal: tuple[int, ...]) -> list[nn.Module]:
    """From images to clips of one frame, or from clips to their mean image."""
    if (len(grid), len(goal)) == (2, 3):
        return [ToTokens(), ToGrid((1, *grid), prefix=0)]
    if (len(grid), len(goal)) == (3, 2):
        return [pool((1, None, None)), ToTokens(), ToGrid(grid[1:], prefix=0)]
    raise ValueError(f"a map of {len(grid)} axes does not become one of {len(goal)}: tap other layers")


def _resizes(grid: tuple[int, ...], goal: tuple[int, ...]) -> tuple[list[nn.Module], list[nn.Module]]:
    down = tuple(to if to < now else None for now, to in zip(grid, goal, strict=True))
    up = tuple(to if to > now else None for now, to in zip(grid, goal, strict=True))
    return [pool(down)] if any(down) else [], [Interpolate(up)] if any(up) else []


def _known(layout: Layout) -> tuple[int, ...]:
    if layout.grid is None:
        raise ValueError(f"the grid of the tokens {layout.shape} is unknown: {_NAME_GRID}")
    return layout.grid
