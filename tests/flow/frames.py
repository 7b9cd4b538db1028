"""Frames with a known motion, for the tests of this folder."""

import torch
import torch.nn.functional as F
from torch import Tensor


def texture(height: int, width: int, *, seed: int = 0, grains: tuple[int, ...] = (5, 11, 29)) -> Tensor:
    """A random picture (1,H,W) in [0, 255], smooth at several scales."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for grain in grains:
        coarse = torch.rand(1, 1, height // grain + 2, width // grain + 2, generator=generator)
        layers.append(F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0])
    return (torch.stack(layers).mean(0).clamp(0, 1) * 255).round()


def moving_pair(height: int, width: int, u: int, v: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two uint8 frames (1,1,H,W) between which everything moves `u` to the right and `v` down."""
    margin = max(abs(u), abs(v))
    large = texture(height + 2 * margin, width + 2 * margin, seed=seed).to(torch.uint8)
    previous = large[:, margin : margin + height, margin : margin + width]
    following = large[:, margin - v : margin - v + height, margin - u : margin - u + width]
    return previous[None], following[None]
