"""TV-L1 solvers: grey clips (B,T,H,W) float32 in [0, 255] and a preset in, flow (B,T-1,2,H,W) in pixels out.

All compute the same numbers up to rounding; each pair is solved for itself, so a flow does not depend on what
else is in the batch.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

Backend = Literal["auto", "eager", "compile", "cpp", "triton", "opencv"]
Solver = Callable[..., Tensor]

MODULES = {"eager": "eager", "compile": "compiled", "cpp": "cpp", "triton": "fused", "opencv": "opencv"}
DEVICES = {"cpp": "cpu", "opencv": "cpu", "triton": "cuda"}


def find(backend: Backend, device: str, dual_dtype: torch.dtype = torch.float32) -> Solver:
    """The solver of a backend. Raises ValueError for an unknown name, or where it cannot run (it says why)."""
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {list(get_args(Backend))}, got {backend!r}")
    name = _best(device) if backend == "auto" else backend
    if DEVICES.get(name, device) != device:
        raise ValueError(f"backend={name!r} works on {DEVICES[name]} tensors, got frames on {device}")
    if name == "triton" and not find_spec("triton"):
        raise ValueError('backend="triton" needs Triton, which comes with the CUDA builds of torch for Linux')
    if name == "cpp" and (problem := _cpp_problem()):
        raise ValueError(f'backend="cpp" cannot be used here: {problem}')
    solver: Solver = import_module(f"kdvideo.flow.tvl1.{MODULES[name]}").solve
    if dual_dtype == torch.float32:
        return solver
    if name != "triton":
        raise ValueError(f'dual_dtype={dual_dtype} needs backend="triton", got {name!r}: leave it at torch.float32')
    return functools.partial(solver, dual_dtype=dual_dtype)


@functools.cache
def _best(device: str) -> str:
    if device == "cuda" and find_spec("triton"):
        return "triton"
    if device == "cpu":
        problem = _cpp_problem()
        if not problem:
            return "cpp"
        warnings.warn(f"TV-L1 runs in plain torch, several times slower than in C++: {problem}", stacklevel=2)
    return "eager"


def _cpp_problem() -> str:
    """Why the C++ solver cannot be used, or nothing."""
    from kdvideo.flow.tvl1.cpp import CompilerError, load

    try:
        load()
    except (CompilerError, OSError) as error:
        return str(error)
    return ""
