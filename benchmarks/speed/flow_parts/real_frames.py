"""Read frames of real clips for the flow benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def videos(folder: Path) -> list[Path]:
    """List all videos below a folder; end the program where there is none."""
    found = sorted(p for p in folder.rglob("*") if p.suffix in {".mp4", ".avi", ".webm"})
    if not found:
        sys.exit(f"no videos in {folder}: name a folder of real clips with --clips")
    return found


def load_pairs(folder: Path, size: Size, count: int) -> Tensor:
    """Read gray frame pairs (2,count,1,H,W) uint8, spread over the videos of a folder."""
    files = videos(folder)
    each = -(-count // len(files))
    pairs = [pair for file in files for pair in _pairs_of(file, size, each)]
    return torch.stack(pairs[:count], 1)


def _pairs_of(video: Path, size: Size, count: int) -> list[Tensor]:
    frames = gray_frames(video)
    starts = torch.linspace(0, len(frames) - 2, count + 2).long()[1:-1]
    return [fit(torch.stack([frames[i], frames[i + 1]]), size) for i in starts]


def gray_frames(video: Path) -> list[Tensor]:
    """Read all frames (H,W) uint8 of a video as its own luma."""
    import av

    with av.open(str(video)) as container:
        return [torch.from_numpy(f.to_ndarray(format="gray")) for f in container.decode(video=0)]


def fit(frames: Tensor, size: Size) -> Tensor:
    """Resize frames (N,H,W) to cover `size`, then crop them to it at the center: (N,1,*size) uint8."""
    scale = max(size[0] / frames.shape[-2], size[1] / frames.shape[-1])
    target = [max(side, round(have * scale)) for side, have in zip(size, frames.shape[-2:], strict=True)]
    small = F.interpolate(frames[:, None].float(), target, mode="bilinear", antialias=True)
    top, left = (target[0] - size[0]) // 2, (target[1] - size[1]) // 2
    return small[..., top : top + size[0], left : left + size[1]].round().clamp(0, 255).byte()
