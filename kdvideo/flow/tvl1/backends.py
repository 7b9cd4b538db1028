"""The TV-L1 solvers by the name of their backend.

A solver takes gray clips (B,T,H,W) float32 in [0, 255] and settings, and returns flow (B,T-1,2,H,W) in pixels. All
compute the same numbers up to rounding. Each pair of frames is solved by itself, so a flow does not depend on what
else is in the batch.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, get_args

from torch import Tensor

from kdvideo.flow.tvl1 import cpp
from kdvideo.flow.tvl1.presets import TVL1Settings

Backend = Literal["auto", "eager", "cpp", "triton", "opencv"]
Solver = Callable[[Tensor, TVL1Settings], Tensor]

DEVICES = {"cpp": "cpu", "opencv": "cpu", "triton": "cuda"}  # eager runs on all


def find_solver(backend: Backend, device: str) -> Solver:
    """Return the solver of a backend, which is the function `solve` of the module of that name.

    Raises:
        ValueError: the backend is unknown or cannot run here (the message says why).
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {list(get_args(Backend))}, got {backend!r}")
    name = best_backend(device) if backend == "auto" else backend
    if DEVICES.get(name, device) != device:
        raise ValueError(
            f'backend={name!r} works on {DEVICES[name]} tensors, got frames on {device}: move them or use "auto"'
        )
    if name == "triton" and not find_spec("triton"):
        raise ValueError('backend="triton" needs Triton, which comes with the CUDA builds of torch for Linux')
    if name == "cpp" and (problem := cpp.build_error()):
        raise ValueError(f'backend="cpp" cannot be used here: {problem}')
    # Imported when asked for: Triton and OpenCV are not installed everywhere.
    solver: Solver = import_module(f"kdvideo.flow.tvl1.{name}").solve
    return solver


@functools.cache
def best_backend(device: str) -> str:
    """Return the fastest backend that runs on a device; warn once where a CPU has no C++ compiler."""
    if device == "cuda" and find_spec("triton"):
        return "triton"
    if device == "cpu":
        problem = cpp.build_error()
        if not problem:
            return "cpp"
        warnings.warn(f"TV-L1 runs in plain torch, several times slower than in C++: {problem}", stacklevel=2)
    return "eager"
