"""One comparison: a loss of a peer and ours on the same random inputs, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.sources import Sources

TOLERANCE = 1e-5
LABELS = torch.tensor([0, 3, 9, 1, 1, 7, 5, 2])
SHAPES = {"logits": (8, 10), "vectors": (8, 12), "maps": (8, 6, 5, 5), "tokens": (2, 7, 10)}
Function = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Row:
    """A loss that both have.

    Attributes:
        method: the object of kdvideo.
        name: of the peer's class or function, with the options that matter.
        conversion: what their value is multiplied by, or what else is done to compare it.
        theirs: the peer's loss of (student, teacher), converted.
        ours: kdvideo's.
        inputs: a key of `SHAPES`.
        why: the reason, where they differ.
    """

    method: str
    name: str
    conversion: str
    theirs: Function
    ours: Function
    inputs: str = "logits"
    why: str = ""


Rows = Callable[[Sources], list[Row]]


def measure(row: Row) -> dict[str, Any]:
    """Compare values and gradients in float64 and float32.

    Raises:
        ValueError: they differ and the row does not say why, or the row says why and they do not.
    """
    found = {name: _differences(row, dtype) for name, dtype in (("float64", torch.float64), ("float32", torch.float32))}
    largest = max(value for each in found.values() for value in each.values())
    equal = largest <= TOLERANCE
    if equal == bool(row.why):
        raise ValueError(f"{row.method} beside {row.name} must give a reason only if it differs, got {found}")
    return {
        "method": row.method,
        "name": row.name,
        "conversion": row.conversion,
        **found,
        "largest": largest,
        "verdict": "equal" if equal else "differs",
        "why": row.why,
    }


def _differences(row: Row, dtype: torch.dtype) -> dict[str, float]:
    theirs, ours = (_value_and_gradient(loss, row.inputs, dtype) for loss in (row.theirs, row.ours))
    named = zip(("value", "gradient"), theirs, ours, strict=True)
    return {name: float(f"{relative(a, b):.1e}") for name, a, b in named}


def relative(theirs: Tensor, ours: Tensor) -> float:
    """Compute the largest absolute difference over the largest absolute value of ours."""
    return ((theirs - ours).abs().max() / ours.abs().max()).item()


def _value_and_gradient(loss: Function, inputs: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(SHAPES[inputs], generator=random, dtype=torch.float64) for _ in range(2))
    student, teacher = student.to(dtype).requires_grad_(), teacher.to(dtype)
    value = loss(student, teacher).sum()
    (gradient,) = torch.autograd.grad(value, student)
    return value.detach(), gradient
