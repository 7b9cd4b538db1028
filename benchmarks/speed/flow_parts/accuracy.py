"""Measure the errors of TV-L1: against ground truth, on large motion, and between the backends."""

from __future__ import annotations

import math
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.speed.flow_parts.others import opencv, over_pairs, skimage
from benchmarks.speed.flow_parts.real_frames import fit, gray_frames, load_pairs, videos
from kdvideo import flow as kf

SIDE, MARGIN = 256, 40
LARGE = (10.0, 20.0, 30.0)


def measure(clips: Path, rubberwhale: Path, threads: int) -> dict[str, Any]:
    """Measure all errors, in pixels."""
    return {
        "rubberwhale": on_rubberwhale(rubberwhale),
        "large_motion": on_large_motion(clips, threads),
        "backends": between_backends(load_pairs(clips, (224, 224), 16)),
    }


def on_rubberwhale(folder: Path) -> dict[str, float]:
    """Measure the endpoint error on the known pixels of Middlebury's RubberWhale."""
    from torchvision.io import ImageReadMode, read_image

    pair = torch.stack([read_image(str(folder / f"RubberWhale{i}.png"), ImageReadMode.GRAY) for i in (1, 2)])[:, None]
    truth = kf.read_flo(folder / "RubberWhale.flo")
    with ThreadPoolExecutor(1) as pool:
        flows = {name: method(pair)[0] for name, method in methods(pool).items()}
    return {name: _round(kf.endpoint_error(f, truth, mask=kf.is_known(truth))) for name, f in flows.items()}


def methods(pool: ThreadPoolExecutor) -> dict[str, Any]:
    """Return the methods compared, from pairs (2,N,1,H,W) uint8 to flow (N,2,H,W), by their names."""
    return {
        "kdvideo default": lambda pairs: kf.tvl1(*pairs),
        "kdvideo fast": lambda pairs: kf.tvl1(*pairs, preset=kf.FAST),
        "OpenCV DualTVL1": partial(over_pairs, pool, opencv),
        "scikit-image": partial(over_pairs, pool, skimage),
        "DIS": lambda pairs: kf.DISEstimator()(pairs.transpose(0, 1))[:, 0],
    }


def on_large_motion(clips: Path, threads: int) -> dict[str, Any]:
    """Measure the endpoint error on real frames warped by known smooth fields, by the largest motion in the frame."""
    frames = torch.cat([_texture(video) for video in videos(clips)])
    result: dict[str, Any] = {"frames": len(frames), "size": [SIDE, SIDE], "methods": {}}
    with ThreadPoolExecutor(threads) as pool:
        for largest in LARGE:
            pairs, truth, seen = warped(frames, largest)
            for name, method in methods(pool).items():
                error = kf.endpoint_error(method(pairs), truth, mask=seen)
                result["methods"].setdefault(name, {})[f"{largest:g} px"] = _round(error)
            zeros = kf.endpoint_error(torch.zeros_like(truth), truth, mask=seen)
            result["methods"].setdefault("all zeros", {})[f"{largest:g} px"] = _round(zeros)
    for errors in result["methods"].values():
        errors["mean"] = round(statistics.mean(errors[f"{largest:g} px"] for largest in LARGE), 4)
    return result


def _texture(video: Path) -> Tensor:
    side = SIDE + 2 * MARGIN
    frames = gray_frames(video)
    return fit(frames[len(frames) // 2][None], (side, side))


def warped(frames: Tensor, largest: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return pairs (2,N,1,SIDE,SIDE), their flow (N,2,SIDE,SIDE), and where what moves stays within the frame.

    first(x) = second(x + u(x)) by construction: `second` is the real frame, `first` its warped copy.
    """
    generator = torch.Generator().manual_seed(int(largest))
    truth = torch.stack([field(largest, generator) for _ in frames])
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    at = truth + torch.stack([x, y])
    side = frames.shape[-1]
    grid = ((at + MARGIN) * 2 + 1) / side - 1
    first = F.grid_sample(frames.float(), grid.permute(0, 2, 3, 1), "bicubic", "border", align_corners=False)
    second = frames[..., MARGIN : MARGIN + SIDE, MARGIN : MARGIN + SIDE]
    seen = ((at >= 0) & (at <= SIDE - 1)).all(1)
    return torch.stack([first.round().clamp(0, 255).byte(), second]), truth, seen


def field(largest: float, generator: torch.Generator) -> Tensor:
    """Draw a smooth flow field (2,SIDE,SIDE): translation, rotation, zoom, waves; its fastest pixel is `largest`."""
    draw = torch.rand(8, generator=generator) * 2 - 1
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    angle = float(draw[0]) * math.pi
    u = math.cos(angle) + 0.4 * (draw[1] * x - draw[2] * y) + 0.3 * torch.sin(math.pi * (y + draw[3]))
    v = math.sin(angle) + 0.4 * (draw[2] * x + draw[1] * y) + 0.3 * torch.sin(math.pi * (x + draw[4]))
    flow = torch.stack([u, v])
    scale: Tensor = largest / flow.norm(dim=0).max()
    return flow * scale


def between_backends(pairs: Tensor) -> dict[str, Any]:
    """Measure the mean distance of backends on real pairs, px: the mean and the largest of the pairs' means."""
    zeros = replace(kf.DEFAULT, border="zeros")
    compared = {
        "cpp, eager": (kf.DEFAULT, "cpp", "eager"),
        'cpp, opencv (border "zeros")': (zeros, "cpp", "opencv"),
        'eager, opencv (border "zeros")': (zeros, "eager", "opencv"),
        'cpp, opencv (preset "opencv")': (kf.OPENCV, "cpp", "opencv"),
    }
    return {name: _distance(pairs, *what) for name, what in compared.items()}


def _distance(pairs: Tensor, preset: kf.TVL1Settings, left: Any, right: Any) -> dict[str, float]:
    a, b = (kf.tvl1(*pairs, preset=preset, backend=backend) for backend in (left, right))
    distance = (a - b).norm(dim=1)
    means = distance.mean((1, 2))
    return {"mean": _round(means.mean()), "largest": _round(means.max()), "median": _round(distance.median())}


def _round(value: Tensor) -> float:
    return round(float(value), 5)
