"""The image pyramid that all TV-L1 solvers share, and the coarse-to-fine loop over it.

Legend: B clips, T frames, N pairs of neighboring frames, H W space.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdvideo.flow.tvl1.presets import TVL1Settings

Levels = list[tuple[Tensor, Tensor]]  # first and second frame (N,H,W) of all pairs, finest level first
Refine = Callable[[Tensor, Tensor, Tensor], Tensor]


def pyramid_sizes(size: tuple[int, int], preset: TVL1Settings) -> list[tuple[int, int]]:
    """Return (H, W) of every level, finest first."""
    sizes = [size]
    while preset.scales is None or len(sizes) < preset.scales:
        coarser = tuple(round(side * preset.scale_step) for side in sizes[-1])
        if min(coarser) < preset.min_size or coarser == sizes[-1]:
            break
        sizes.append((coarser[0], coarser[1]))
    return sizes


def pyramid(clips: Tensor, preset: TVL1Settings) -> list[Tensor]:
    """Resize clips (B,T,H,W) to every level, finest first: each frame once, not once for each of its pairs."""
    levels = [clips]
    for size in pyramid_sizes((clips.shape[-2], clips.shape[-1]), preset)[1:]:
        # Pixel i of a level samples pixel i / step of the finer one, whatever the rounded sizes are: a motion of d
        # pixels is then d * step pixels in both directions, as `rescale` assumes. OpenCV does the same.
        step = preset.scale_step
        levels.append(torch.ops.aten.upsample_bilinear2d(levels[-1], list(size), False, step, step))
    return levels


def pairs(level: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and the second frame (N,H,W) of all pairs of clips (B,T,H,W)."""
    return level[:, :-1].flatten(0, 1), level[:, 1:].flatten(0, 1)


def coarse_to_fine(levels: Levels, preset: TVL1Settings, refine: Refine, chunk_pixels: int) -> Tensor:
    """Compute the flow (N,2,H,W) of N pairs: the refined flow of each level is the start of the next finer one.

    Linearizing a frame holds for motion of about a pixel. On the coarsest level all motion is that small; each finer
    level has to find only what the level before it could not see.

    Args:
        levels: the frames.
        preset: the settings.
        refine: from both frames and a flow of one level to a better flow, in the units of the flow given.
        chunk_pixels: pairs are refined together as long as they have fewer pixels than this.
    """
    coarsest = levels[-1][0]
    flow = coarsest.new_zeros(len(coarsest), 2, *coarsest.shape[-2:])
    for previous, following in reversed(levels):
        height, width = previous.shape[-2:]
        flow = rescale(flow, (height, width), preset)
        chunk = max(1, chunk_pixels // (height * width))
        parts = zip(*(torch.split(t, chunk) for t in (previous, following, flow)), strict=True)
        flow = torch.cat([refine(first, second, start) for first, second, start in parts])
    return flow


def rescale(flow: Tensor, size: tuple[int, int], preset: TVL1Settings) -> Tensor:
    """Resize the flow (N,2,h,w) of a level to the `size` of the next finer one, in pixels of that one."""
    if flow.shape[-2:] == size:
        return flow
    return F.interpolate(flow, size, mode="bilinear", align_corners=False) / preset.scale_step
