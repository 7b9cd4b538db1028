"""TV-L1 in hand-written Triton kernels, two per iteration, replayed as one CUDA graph.

Every pair is solved pixel by pixel, so a flow does not depend on its neighbours in the batch.
Legend: B clips, T frames, N pairs, H W space.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import torch
from torch import Tensor

from kdvideo.flow.tvl1 import eager
from kdvideo.flow.tvl1.presets import TVL1
from kdvideo.flow.tvl1.pyramid import Levels, coarse_to_fine, pairs, pyramid

CHUNK = 800_000  # pixels of a level that are iterated on together: at 40 bytes each they stay in a 50 MB cache
PART = 64 * 224 * 224  # most pixels of a graph: a clip of 64 frames
MOST = 4096  # most pairs of a graph; a CUDA grid's second axis ends at 65535
GRAPHS = 4  # kept at a time: each has memory of its own
BLOCK = 128  # pixels per program, one per thread: whole lines of memory also where rows have an odd width
DUALS = (torch.float32, torch.float16, torch.bfloat16)


def solve(clips: Tensor, preset: TVL1, *, dual_dtype: torch.dtype = torch.float32) -> Tensor:
    """Flow (B,T-1,2,H,W) of grey clips (B,T,H,W) in [0, 255].

    On a GPU the solve is captured once per number of pairs, frame size and preset, and replayed after that; inside
    another capture its kernels are captured there. Presets with a tolerance or a median filter run eagerly.

    Arguments:
        clips: (B,T,H,W) float32.
        preset: the settings.
        dual_dtype: how the dual variables are stored, float32, float16 or bfloat16; all arithmetic is float32.

    Raises:
        ValueError: another `dual_dtype`.
    """
    if dual_dtype not in DUALS:
        raise ValueError(f"dual_dtype must be one of {list(DUALS)}, got {dual_dtype}")
    if preset.tolerance is not None or preset.median > 1:
        return eager.solve(clips, preset)
    batch, frames, height, width = clips.shape
    # Buffers made in inference mode could not be written outside of it.
    with torch.inference_mode(False), torch.no_grad(), torch.cuda.device_of(clips):  # type: ignore[no-untyped-call]
        levels = [pairs(level) for level in pyramid(clips, preset)]
        size = _part_size(batch * (frames - 1), height * width)
        split = [zip(*(torch.split(images, size) for images in level), strict=True) for level in levels]
        flow = torch.cat([_solve_part(list(part), size, preset, dual_dtype) for part in zip(*split, strict=True)])
    return flow.view(batch, frames - 1, 2, height, width)


def _part_size(count: int, pixels: int) -> int:
    """Pairs per graph: equal parts, in steps of four, so that clips of many lengths need few graphs."""
    most = max(1, min(MOST, PART // pixels))
    size = -(-count // -(-count // most))
    return size if size <= 4 else min(most, -(-size // 4) * 4)


def _solve_part(levels: Levels, size: int, preset: TVL1, dual_dtype: torch.dtype) -> Tensor:
    """Flow (N,2,H,W) of N <= `size` pairs; the CPU is there for Triton's interpreter."""
    if not levels[0][0].is_cuda or torch.cuda.is_current_stream_capturing():
        return _solve_pairs(levels, preset, dual_dtype)
    return _replay(levels, size, preset, dual_dtype)


def _replay(levels: Levels, size: int, preset: TVL1, dual_dtype: torch.dtype) -> Tensor:
    first = levels[0][0]
    key = (first.device, size, tuple(first.shape[1:]), preset, dual_dtype)
    with _lock:
        graph = _graphs.pop(key, None)
        if graph is None:
            while len(_graphs) >= GRAPHS:
                oldest = next(iter(_graphs))
                _graphs[oldest].done.synchronize()  # it may still be running
                del _graphs[oldest]
            graph = _Graph(levels, size, preset, dual_dtype)
        _graphs[key] = graph
        return graph.replay(levels)


class _Graph:
    """The recorded solve of `size` pairs, with buffers of its own for frames and flow; one call at a time."""

    def __init__(self, like: Levels, size: int, preset: TVL1, dual_dtype: torch.dtype) -> None:
        self.levels = [(a.new_zeros(size, *a.shape[1:]), b.new_zeros(size, *b.shape[1:])) for a, b in like]
        self.graph = torch.cuda.CUDAGraph()
        self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):  # loads every kernel, which a capture cannot
            _solve_pairs(self.levels, replace(preset, warps=1, iterations=1, rounds=1), dual_dtype)
        current.wait_stream(side)
        # Of this thread alone: others, such as a loader that pins memory, may go on.
        with torch.cuda.graph(self.graph, stream=side, capture_error_mode="thread_local"):
            self.flow = _solve_pairs(self.levels, preset, dual_dtype)

    def replay(self, levels: Levels) -> Tensor:
        """Flow (N,2,H,W) of N <= `size` pairs, on the current stream, after whichever stream was here before."""
        stream, count = torch.cuda.current_stream(), len(levels[0][0])
        stream.wait_event(self.done)
        for buffers, images in zip(self.levels, levels, strict=True):
            for buffer, image in zip(buffers, images, strict=True):
                buffer[:count].copy_(image)
        self.graph.replay()
        flow = self.flow[:count].clone()
        self.done.record(stream)
        return flow


_graphs: dict[object, _Graph] = {}  # the least recently used first
_lock = threading.Lock()


def _solve_pairs(levels: Levels, preset: TVL1, dual_dtype: torch.dtype) -> Tensor:
    """Flow (N,2,H,W) of the two frames of N pairs at every level; it is scaled by tau / theta on the way."""
    flow = coarse_to_fine(levels, preset, lambda a, b, start: _refine(a, b, start, preset, dual_dtype), CHUNK)
    return flow * (preset.theta / preset.tau)


def _refine(previous: Tensor, next: Tensor, flow: Tensor, preset: TVL1, dual_dtype: torch.dtype) -> Tensor:
    """One pyramid level of frames (N,H,W), from a flow (N,2,H,W) scaled by tau / theta to a better one."""
    from kdvideo.flow.tvl1.kernels import linearise, update_dual, update_primal

    count, height, width = previous.shape
    gain = preset.tau / preset.theta
    limit = preset.lambda_ * preset.theta * gain * gain
    cubic = preset.interpolation == "bicubic"
    previous, next, flow = previous.contiguous(), next.contiguous(), flow.contiguous()
    data = flow.new_empty(count, 4, height, width)
    duals = torch.zeros_like(data, dtype=dual_dtype)
    grid = (-(-height * width // BLOCK), count)
    for _ in range(preset.warps):
        linearise[grid](previous, next, flow, data, height, width, gain, cubic, preset.border, BLOCK)
        for _ in range(preset.iterations * preset.rounds):
            update_primal[grid](flow, duals, data, height, width, preset.tau, limit, BLOCK)
            update_dual[grid](flow, duals, height, width, BLOCK)
    return flow
