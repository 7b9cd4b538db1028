"""What a clip costs at inference: D3D against two streams and their flow, side by side in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from examples.d3d.config import Config
from kdvideo import flow


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


@torch.no_grad()
def inference_cost(config: Config, networks: Mapping[str, nn.Module], *, rounds: int = 9) -> dict[str, Any]:
    """Ratios to D3D's time per clip, interleaved round by round, with D3D against itself as the control."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    view = config.input
    net = {name: network.to(device).eval() for name, network in networks.items()}
    shape = (view.frames, view.crop, view.crop)
    rgb, uv = (torch.randn(1, channels, *shape, device=device) for channels in (3, 2))
    frames = torch.randint(0, 256, (view.frames + 1, 3, view.crop, view.crop), dtype=torch.uint8, device=device)

    def compute_flow() -> None:
        flow.tvl1(frames, preset=flow.PRESETS[config.flow_preset])

    def streams() -> None:
        net["S3D-G RGB"](rgb)
        net["S3D-G Flow"](uv)

    work: dict[str, Callable[[], object]] = {
        "d3d": lambda: net["D3D"](rgb),
        "control": lambda: net["D3D"](rgb),
        "flow": compute_flow,
        "streams": streams,
    }
    for warm in work.values():
        warm()
    times = [{name: _seconds(run, device) for name, run in work.items()} for _ in range(rounds)]
    for row in times:
        row["two_stream"] = row["flow"] + row["streams"]
    names = ("control", "flow", "streams", "two_stream")
    result: dict[str, Any] = {name: _spread([row[name] / row["d3d"] for row in times]) for name in names}
    if device.type == "cuda":
        result["milliseconds"] = {name: 1e3 * statistics.median(row[name] for row in times) for name in times[0]}
    return result


def _spread(ratios: list[float]) -> dict[str, float]:
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
