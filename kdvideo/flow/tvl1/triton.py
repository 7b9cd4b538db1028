"""TV-L1 in hand-written Triton kernels, two per iteration, replayed as one CUDA graph.

A solve launches thousands of short kernels; launched one by one, the GPU would wait for the CPU. A graph launches all
of them at once. Every pair is solved pixel by pixel, so a flow does not depend on what else is in the batch.

Legend: B clips, T frames, N pairs, H W space.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import torch
from torch import Tensor

from kdvideo.flow.tvl1 import eager
from kdvideo.flow.tvl1.presets import TVL1Settings
from kdvideo.flow.tvl1.pyramid import Levels, coarse_to_fine, pairs, pyramid

CHUNK = 800_000  # pixels of a level that are iterated on together: at 40 bytes each they stay in a 50 MB cache
PART = 64 * 224 * 224  # most pixels of a graph: a clip of 64 frames
MOST = 4096  # most pairs of a graph; a CUDA grid's second axis ends at 65535
GRAPHS = 4  # kept at a time: each has memory of its own
BLOCK = 128  # pixels per program, one per thread: whole lines of memory also where rows have an odd width


def solve(clips: Tensor, preset: TVL1Settings) -> Tensor:
    """Compute the flow (B,T-1,2,H,W) of gray clips (B,T,H,W) in [0, 255].

    On a GPU the solve is captured once per number of pairs, frame size and preset, and replayed after that; inside
    another capture its kernels are captured there. Presets with a tolerance or a median filter run eagerly: a graph
    cannot decide when to stop, and the median has no kernel.
    """
    if preset.tolerance is not None or preset.median > 1:
        return eager.solve(clips, preset)
    batch, frames, height, width = clips.shape
    # Buffers made in inference mode could not be written outside of it.
    with torch.inference_mode(False), torch.no_grad(), torch.cuda.device_of(clips):  # type: ignore[no-untyped-call]
        levels = [pairs(level) for level in pyramid(clips, preset)]
        size = part_size(batch * (frames - 1), height * width)
        split = [zip(*(torch.split(images, size) for images in level), strict=True) for level in levels]
        flow = torch.cat([solve_part(list(part), size, preset) for part in zip(*split, strict=True)])
    return flow.view(batch, frames - 1, 2, height, width)


def part_size(count: int, pixels: int) -> int:
    """Return the pairs per graph: equal parts, in steps of four, so that clips of many lengths need few graphs."""
    most = max(1, min(MOST, PART // pixels))
    size = -(-count // -(-count // most))
    return size if size <= 4 else min(most, -(-size // 4) * 4)


def solve_part(levels: Levels, size: int, preset: TVL1Settings) -> Tensor:
    """Compute the flow (N,2,H,W) of N <= `size` pairs."""
    # Tensors are on the CPU in Triton's interpreter alone.
    if not levels[0][0].is_cuda or torch.cuda.is_current_stream_capturing():
        return solve_pairs(levels, preset)
    return replay(levels, size, preset)


def replay(levels: Levels, size: int, preset: TVL1Settings) -> Tensor:
    """Compute the flow (N,2,H,W) of N <= `size` pairs by the graph of that size, recording it at the first use."""
    first = levels[0][0]
    key = (first.device, size, tuple(first.shape[1:]), preset)
    with _lock:
        graph = graphs.pop(key, None)
        if graph is None:
            while len(graphs) >= GRAPHS:
                oldest = next(iter(graphs))
                graphs[oldest].done.synchronize()  # it may still be running, in memory that would be freed
                del graphs[oldest]
            graph = _Graph(levels, size, preset)
        graphs[key] = graph
        return graph.replay(levels)


class _Graph:
    """The recorded solve of `size` pairs, with buffers of its own for frames and flow; one call at a time."""

    def __init__(self, like: Levels, size: int, preset: TVL1Settings) -> None:
        self.levels = [(a.new_zeros(size, *a.shape[1:]), b.new_zeros(size, *b.shape[1:])) for a, b in like]
        self.graph = torch.cuda.CUDAGraph()
        self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side):  # loads every kernel, which a capture cannot
            solve_pairs(self.levels, replace(preset, warps=1, iterations=1, rounds=1))
        current.wait_stream(side)
        # Of this thread alone: others, such as a loader that pins memory, may continue.
        with torch.cuda.graph(self.graph, stream=side, capture_error_mode="thread_local"):
            self.flow = solve_pairs(self.levels, preset)

    def replay(self, levels: Levels) -> Tensor:
        """Compute the flow (N,2,H,W) of N <= `size` pairs on the current stream."""
        stream, count = torch.cuda.current_stream(), len(levels[0][0])
        stream.wait_event(self.done)  # the last call, maybe of another stream, still reads the buffers
        for buffers, images in zip(self.levels, levels, strict=True):
            for buffer, image in zip(buffers, images, strict=True):
                buffer[:count].copy_(image)
        self.graph.replay()
        flow = self.flow[:count].clone()
        self.done.record(stream)
        return flow


graphs: dict[object, _Graph] = {}  # by device, size and preset; the least recently used first
_lock = threading.Lock()


def solve_pairs(levels: Levels, preset: TVL1Settings) -> Tensor:
    """Compute the flow (N,2,H,W) of the two frames of N pairs at every level."""
    # Scaled by gain = tau / theta on all levels, and back to pixels at the end.
    flow = coarse_to_fine(levels, preset, lambda a, b, start: refine(a, b, start, preset), CHUNK)
    return flow * (preset.theta / preset.tau)


def refine(previous: Tensor, following: Tensor, flow: Tensor, preset: TVL1Settings) -> Tensor:
    """Refine a flow (N,2,H,W) scaled by tau / theta on one pyramid level of frames (N,H,W)."""
    from kdvideo.flow.tvl1.kernels import linearize, update_dual, update_primal

    count, height, width = previous.shape
    gain = preset.tau / preset.theta
    limit = preset.lambda_ * preset.theta * gain * gain
    cubic = preset.interpolation == "bicubic"
    previous, following, flow = previous.contiguous(), following.contiguous(), flow.contiguous()
    data = flow.new_empty(count, 4, height, width)
    duals = torch.zeros_like(data)
    grid = (-(-height * width // BLOCK), count)
    for _ in range(preset.warps):
        linearize[grid](previous, following, flow, data, height, width, gain, cubic, preset.border, BLOCK)
        for _ in range(preset.iterations * preset.rounds):
            # Two kernels: a pixel's dual needs the new u of its neighbors, for which all programs have to be done.
            update_primal[grid](flow, duals, data, height, width, preset.tau, limit, BLOCK)
            update_dual[grid](flow, duals, height, width, BLOCK)
    return flow
