"""TV-L1 solvers: grey clips (B,T,H,W) float32 in [0, 255] and a preset in, flow (B,T-1,2,H,W) in pixels out.

All compute the same numbers up to rounding; each pair is solved for itself, so a flow does not depend on what
else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor

from kdvideo.flow.presets import TVL1

Backend = Literal["auto", "eager", "compile", "cpp", "triton", "opencv"]
Solver = Callable[[Tensor, TVL1], Tensor]


def find(backend: Backend, device: str) -> Solver:
    """The solver of a backend. Raises ValueError for an unknown name, or where it cannot run (it says why)."""
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {list(get_args(Backend))}, got {backend!r}")
    from kdvideo.flow.solvers import eager

    return eager.solve
