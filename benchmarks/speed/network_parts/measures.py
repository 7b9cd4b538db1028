"""The parts of `benchmarks.speed.models`: what is timed against what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed import networks as networks_table
from benchmarks.speed.network_parts import roofline
from benchmarks.speed.network_parts.passes import FAST, PLAIN, RECOMMENDED, Settings, forward, peak_memory, training
from kdvideo import flow, models
from kdvideo.training.timing import Timings

Result = dict[str, Any]
Shape = tuple[int, int, int, int, int]
CPU_SHAPE: Shape = (1, 3, 16, 224, 224)  # torchvision's pool takes no less
GPU_SHAPE: Shape = (6, 3, 64, 224, 224)
KINDS: dict[str, Callable[[nn.Module, Tensor, Settings], Callable[[], None]]] = {
    "inference": forward,
    "training": training,
}


def _shape() -> Shape:
    return GPU_SHAPE if torch.cuda.is_available() else CPU_SHAPE


def _clip(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, device="cuda" if torch.cuda.is_available() else "cpu")


def _theirs() -> nn.Module:
    from torchvision.models.video import s3d

    network: nn.Module = s3d(weights=None)
    return network


def torchvision(rounds: int, kind: str) -> Result:
    """Time S3D beside torchvision's: with PyTorch's defaults, in the fast layout and type, and compiled."""
    clip, step = _clip(_shape()), KINDS[kind]
    settings = {"plain": PLAIN}
    if clip.is_cuda:
        settings |= {"bf16, channels last": FAST, "bf16, channels last, compiled": RECOMMENDED}
    arms = {}
    for name, setting in settings.items():
        arms[f"torchvision, {name}"] = step(_theirs(), clip, setting)
        arms[f"kdvideo, {name}"] = step(models.s3d(), clip, setting)
    arms["torchvision, plain again"] = arms["torchvision, plain"]
    memory = {name: peak_memory(run) for name, run in arms.items()}
    times = Timings(arms, rounds, warm=2, quiet=True)
    rows = {}
    for name in arms:
        same = f"torchvision, {name.split(', ', 1)[1]}".removesuffix(" again")
        rows[name] = {
            "over_torchvision_plain": times.ratio(name, "torchvision, plain"),
            "over_torchvision_same_settings": times.ratio(name, same),
            "clips_per_s": times.rate(name, len(clip)) if clip.is_cuda else None,
            "peak_gib": memory[name],
        }
    return {"batch": list(clip.shape), "rounds": rounds, "methods": rows}


def roof(rounds: int) -> Result:
    """Compare the time of a forward pass with its floor, eager and compiled."""
    limits, rows = roofline.ceilings(), {}
    builders: dict[str, Callable[[], nn.Module]] = {"S3D-G": models.s3dg, "S3D": models.s3d, "I3D": models.i3d}
    for name, build in builders.items():
        clip = _clip(GPU_SHAPE)
        arms = {"eager": forward(build(), clip, FAST), "compiled": forward(build(), clip, RECOMMENDED)}
        times = Timings(arms, rounds, warm=2, quiet=True)
        least = roofline.floor(build, GPU_SHAPE, limits)
        took = {arm: sorted(seconds)[rounds // 2] * 1e3 for arm, seconds in times.wall.items()}
        share = {arm: round(max(least.values()) / ms, 3) for arm, ms in took.items()}
        rows[name] = least | {"ms": {arm: round(ms, 2) for arm, ms in took.items()}, "share": share}
    return {"batch": list(GPU_SHAPE), "ceilings": limits, "networks": rows}


def growth(rounds: int) -> Result:
    """Time S3D-G's forward pass on one clip as frames and size grow, relative to the first of each."""
    gpu = torch.cuda.is_available()
    frames = {f"{t} frames": (t, *((224, 224) if gpu else (64, 64))) for t in (16, 32, 64, 128, 256)}
    sizes = {
        f"{s} x {s}": (64 if gpu else 16, s, s) for s in ((112, 160, 224, 256, 320) if gpu else (64, 96, 128, 160))
    }
    batch = 4 if gpu else 1
    result = {}
    for name, shapes in {"frames": frames, "size": sizes}.items():
        network, setting = models.s3dg(), FAST if gpu else PLAIN
        arms = {key: forward(network, _clip((batch, 3, *shape)), setting) for key, shape in shapes.items()}
        times = Timings(arms, rounds, warm=2, quiet=True)
        first = next(iter(arms))
        result[name] = {"fixed": list(shapes[first]), "cost": {key: times.cost(key, first) for key in arms}}
    return result


def two_stream(rounds: int) -> Result:
    """Time the classification of a clip by D3D (RGB alone), and by two streams with TV-L1 flow."""
    gpu = torch.cuda.is_available()
    count, _, frames, side, _ = (1, *GPU_SHAPE[1:]) if gpu else (1, 3, 16, 112, 112)
    setting = FAST if gpu else PLAIN
    rgb, moving = _clip((count, 3, frames, side, side)), _clip((count, 2, frames, side, side))
    pixels = (rgb.movedim(2, 1).clamp(-1, 1) * 127.5 + 127.5).byte()
    spatial, temporal = forward(models.s3dg(), rgb, setting), forward(models.s3dg(in_channels=2), moving, setting)
    arms = {"D3D": spatial, "D3D again": spatial}

    def streams(estimate: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            spatial()
            estimate(pixels)
            temporal()

        return run

    for name, preset in {"default": flow.DEFAULT, "fast": flow.FAST}.items():
        arms[f'two streams, TV-L1 preset "{name}"'] = streams(partial(flow.tvl1, preset=preset))
    times = Timings(arms, rounds, warm=2, quiet=True)
    milliseconds = {name: round(sorted(s)[rounds // 2] * 1e3, 2) for name, s in times.wall.items()} if gpu else None
    return {
        "clip": [3, frames, side, side],
        "over_d3d": {name: times.cost(name, "D3D") for name in arms},
        "milliseconds": milliseconds,
    }


def backbones(rounds: int) -> Result:
    """Measure the clips per second of every network in bfloat16, at the clip of its published weights."""
    rows: Result = {}
    for name, build in networks_table.rows().items():
        network = build()
        spec = network.input_spec
        clip = _clip((4, network.in_channels, spec.frames, spec.size, spec.size))
        extra = (torch.tensor([[float(i), 0, 0, 99, 99] for i in range(4)], device=clip.device),)
        run = partial(_with_boxes, network, extra) if name.endswith("detection") else network
        try:
            arm = forward(_Called(network, run), clip, FAST)
            rows[name] = {"clips_per_s": Timings({name: arm}, rounds, warm=2, quiet=True).rate(name, len(clip))}
        except (RuntimeError, ValueError) as error:  # one that fails does not lose the others
            rows[name] = {"clips_per_s": None, "error": str(error).splitlines()[0][:200]}
        print(name, rows[name], flush=True)
    return rows


class _Called(nn.Module):
    """A network that is called another way."""

    def __init__(self, network: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.run = network, run

    def forward(self, clip: Tensor) -> Tensor:
        return self.run(clip)


def _with_boxes(network: nn.Module, extra: tuple[Tensor, ...], clip: Tensor) -> Tensor:
    logits: Tensor = network(clip, *extra)
    return logits
