"""TV-L1 through torch.compile: each iteration is two generated kernels, on any device that it supports.

The functions are compiled anew for each frame size of the pyramid, which takes tens of seconds; then the graphs
are kept for the life of the process. Legend: N pairs, H W space.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch._dynamo
import torch.nn.functional as F
from torch import Tensor

from kdvideo.flow.tvl1 import eager
from kdvideo.flow.tvl1.presets import TVL1
from kdvideo.flow.tvl1.pyramid import Levels, pairs, pyramid, rescale

CPU_PAIRS, GPU_PAIRS = 8, 16  # pairs solved together: their planes should stay in the cache
SIZES = 256  # most frame sizes and settings compiled in a process
# An error instead of silently running eagerly where there are more.
LIMITS: dict[str, Any] = {
    "recompile_limit": SIZES,
    "accumulated_recompile_limit": 8 * SIZES,
    "fail_on_recompile_limit_hit": True,
}


def solve(clips: Tensor, preset: TVL1) -> Tensor:
    """Flow (B,T-1,2,H,W) of grey clips (B,T,H,W) in [0, 255].

    Presets with a tolerance or a median filter run eagerly: they decide pair by pair when to stop.

    Raises:
        ValueError: torch.compile does not work here (on a CPU it needs a C++ compiler).
    """
    if preset.tolerance is not None or preset.median > 1:
        return eager.solve(clips, preset)
    levels = [pairs(level) for level in pyramid(clips, preset)]
    chunk = CPU_PAIRS if clips.device.type == "cpu" else GPU_PAIRS
    count = len(levels[0][0])
    try:
        with torch._dynamo.config.patch(**LIMITS):
            parts = [
                _solve_pairs(levels, first, min(count, first + chunk), chunk, preset)
                for first in range(0, count, chunk)
            ]
    except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
        raise ValueError(f'backend="compile" does not work here: {error}') from error
    return torch.cat(parts).view(clips.shape[0], clips.shape[1] - 1, 2, *clips.shape[-2:])


def _solve_pairs(levels: Levels, first: int, last: int, chunk: int, preset: TVL1) -> Tensor:
    """Flow of the pairs `first` to `last`, padded to `chunk` of them: another number would be compiled anew."""

    def cut(frames: Tensor) -> Tensor:
        return F.pad(frames[first:last], (0, 0, 0, 0, 0, chunk - (last - first)))

    flow = levels[-1][0].new_zeros(chunk, 2, *levels[-1][0].shape[-2:])
    for previous, next in reversed(levels):
        flow = rescale(flow, (previous.shape[-2], previous.shape[-1]), preset)
        flow = _refine(cut(previous), cut(next), flow, preset)
    return flow[: last - first]


def _refine(previous: Tensor, next: Tensor, flow: Tensor, preset: TVL1) -> Tensor:
    fields = eager.fields(next)
    gain = preset.tau / preset.theta
    limit = preset.lambda_ * preset.theta * gain * gain
    u, v = (flow * gain).unbind(1)
    u, v = u.contiguous(), v.contiguous()
    duals = [torch.zeros_like(u) for _ in range(4)]
    for _ in range(preset.warps):
        warped = eager.warp(fields, torch.stack([u, v], 1) / gain, preset)
        data = _compiled(_linearise)(warped, previous, u, v, gain)
        for _ in range(preset.iterations * preset.rounds):
            _compiled(_primal)(u, v, *duals, *data, preset.tau, limit)
            _compiled(_dual)(u, v, *duals)
    return torch.stack([u, v], 1) / gain


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False, fullgraph=True)


def _linearise(warped: Tensor, previous: Tensor, u: Tensor, v: Tensor, gain: float) -> tuple[Tensor, ...]:
    """rho(u) = I1(x + u0) + grad I1 . (u - u0) - I0, for u scaled by `gain`."""
    image, x, y = warped.unbind(1)
    x_scaled, y_scaled = x / gain, y / gain
    rho = image - previous - x_scaled * u - y_scaled * v
    weight = gain * gain / (x * x + y * y).clamp_min(eager.TINY)
    return rho, x_scaled, y_scaled, weight


def _primal(
    u: Tensor,
    v: Tensor,
    ux: Tensor,
    uy: Tensor,
    vx: Tensor,
    vy: Tensor,
    rho: Tensor,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    tau: float,
    limit: float,
) -> None:
    """v = u - clip(rho / |grad I1|^2, +- lambda theta) grad I1, then u = v + theta div p."""
    step = ((rho + x * u + y * v) * weight).clamp(-limit, limit)
    u.add_(tau * (ux - _left(ux) + uy - _above(uy)) - x * step)
    v.add_(tau * (vx - _left(vx) + vy - _above(vy)) - y * step)


def _dual(u: Tensor, v: Tensor, ux: Tensor, uy: Tensor, vx: Tensor, vy: Tensor) -> None:
    """p = (p + tau/theta grad u) / (1 + tau/theta |grad u|)."""
    for plane, px, py in ((u, ux, uy), (v, vx, vy)):
        gx = F.pad(plane[..., 1:] - plane[..., :-1], (0, 1))
        gy = F.pad(plane[:, 1:] - plane[:, :-1], (0, 0, 0, 1))
        scale = 1 / (1 + (gx * gx + gy * gy).sqrt())
        px.copy_((px + gx) * scale)
        py.copy_((py + gy) * scale)


def _left(p: Tensor) -> Tensor:
    return F.pad(p[..., :-1], (1, 0))


def _above(p: Tensor) -> Tensor:
    return F.pad(p[:, :-1], (0, 0, 1, 0))
