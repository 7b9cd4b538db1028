"""OpenCV's own TV-L1 behind the interface of the other solvers, as their reference; needs opencv-contrib."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from kdvideo.flow.tvl1.presets import TVL1Settings
from kdvideo.flow.tvl1.pyramid import pairs

ALL_SCALES = 100  # more than any frame has: OpenCV stops where a side would fall below 16 pixels


def solve(clips: Tensor, preset: TVL1Settings) -> Tensor:
    """Compute the flow (B,T-1,2,H,W) of gray clips (B,T,H,W) on the CPU, on `torch.get_num_threads()` threads.

    Raises:
        ValueError: OpenCV is missing, or the preset asks for what it cannot do.
    """
    _check(preset)
    previous, following = (frames.numpy() for frames in pairs(clips / 255))  # OpenCV's range of floating point frames
    # A solver for each pair: its buffers would be shared between the threads.
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        flows = list(pool.map(lambda a, b: _solver(preset).calc(a, b, None), previous, following))
    batch, frames, height, width = clips.shape
    flow = torch.stack([torch.from_numpy(f) for f in flows]).permute(0, 3, 1, 2)
    return flow.reshape(batch, frames - 1, 2, height, width).contiguous()


def _check(preset: TVL1Settings) -> None:
    able = {"interpolation": "bicubic", "min_size": 16, "border": "zeros"}
    wrong = [f"{name}={getattr(preset, name)!r}" for name, value in able.items() if getattr(preset, name) != value]
    if wrong:
        raise ValueError(
            f'OpenCV cannot do {", ".join(wrong)}: use backend="opencv" with preset="opencv" or '
            f'dataclasses.replace(preset, border="zeros", interpolation="bicubic", min_size=16)'
        )


def _solver(preset: TVL1Settings) -> Any:
    try:
        from cv2 import optflow
    except ImportError as error:
        raise ValueError(
            'backend="opencv" needs OpenCV\'s extra modules: pip install opencv-contrib-python-headless'
        ) from error
    solver = optflow.createOptFlow_DualTVL1()
    solver.setTau(preset.tau)
    solver.setLambda(preset.lambda_)
    solver.setTheta(preset.theta)
    solver.setScalesNumber(preset.scales or ALL_SCALES)
    solver.setScaleStep(preset.scale_step)
    solver.setWarpingsNumber(preset.warps)
    solver.setInnerIterations(preset.iterations)
    solver.setOuterIterations(preset.rounds)
    solver.setEpsilon(preset.tolerance or 0.0)
    solver.setMedianFiltering(preset.median)
    return solver
