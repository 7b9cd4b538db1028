"""Time a training step of D3D by where the teacher's logits come from, relative to a plain step on RGB.

The batch of RGB is in memory before every step; what a source adds is inside the step: reading the cache, reading
stored flow and running the teacher, or computing flow and running the teacher.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import kdvideo as kd
from kdvideo import flow as kf
from kdvideo import models
from kdvideo.training.timing import Timings

BOUND = 5.0
Target = Callable[[], kd.Output]


@dataclass(frozen=True)
class Setting:
    """The size of the network and of its batches."""

    classes: int
    depth_multiplier: float
    batch: int
    frames: int
    side: int
    autocast: bool


POCKET = Setting(classes=6, depth_multiplier=0.25, batch=16, frames=16, side=64, autocast=False)
PAPER = Setting(classes=400, depth_multiplier=1.0, batch=6, frames=64, side=224, autocast=True)


def measure(rounds: int, device: str) -> dict[str, Any]:
    """Time a step relative to a plain RGB step, by where the teacher's logits come from."""
    setting = POCKET if device == "cpu" else PAPER
    with _material(setting, device) as (rgb, targets):
        arms = {name: _step(setting, rgb, target) for name, target in targets.items()}
        times = Timings(arms, rounds, warm=3, quiet=True)
    rows = {name: times.cost(name, "plain RGB") for name in arms}
    seconds = {name: sorted(values)[rounds // 2] for name, values in times.wall.items()} if device == "cuda" else None
    return {"setting": vars(setting), "rounds": rounds, "over_plain_rgb": rows, "seconds": seconds}


@contextmanager
def _material(setting: Setting, device: str) -> Iterator[tuple[Tensor, dict[str, Target | None]]]:
    """Make a batch of moving textures, its stored flow, and the teacher's outputs in a cache."""
    frames = _moving(setting)
    rgb = (frames.movedim(1, 2).float() / 127.5 - 1).to(device)
    teacher = kd.Teacher(_network(setting, 2)).to(device)
    ids, views = [f"clip{i}" for i in range(setting.batch)], [0] * setting.batch
    online = kf.OnlineFlow(kf.TVL1Estimator(), bound=BOUND)
    lengths = torch.full((setting.batch,), setting.frames)
    with tempfile.TemporaryDirectory() as folder:
        store = kf.FlowStore(Path(folder) / "flow", bound=BOUND)
        for name, clip in zip(ids, frames, strict=True):
            store.write(name, kf.EstimatorSource()(name, torch.cat([clip, clip[-1:]])))
        cache = kd.TeacherCache(Path(folder) / "cache", fingerprint={"teacher": "of this benchmark"})
        with cache.writer() as writer, _autocast(setting, device):
            writer.add(ids, views, teacher(online(rgb, lengths)))

        def stored() -> kd.Output:
            flow = torch.stack([store.read(name) for name in ids]).to(device)
            output: kd.Output = teacher(kf.to_unit(flow, BOUND).movedim(1, 2))
            return output

        targets: dict[str, Target | None] = {
            "plain RGB": None,
            "teacher cache": lambda: cache.read(ids, views, device=device),
            "plain RGB again": None,
            "stored flow": stored,
            "on the fly": lambda: teacher(online(rgb, lengths)),
        }
        yield rgb, targets


def _moving(setting: Setting) -> Tensor:
    """Draw textures (B,T,3,H,W) uint8 that move one pixel a frame."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(setting.batch, 3, setting.side // 4, setting.side // 4, generator=generator)
    picture = F.interpolate(coarse, (setting.side, setting.side), mode="bicubic").clamp(0, 1)
    return (torch.stack([picture.roll(t, -1) for t in range(setting.frames)], 1) * 255).byte()


def _network(setting: Setting, channels: int) -> nn.Module:
    torch.manual_seed(0)
    return models.s3dg(setting.classes, in_channels=channels, depth_multiplier=setting.depth_multiplier)


def _autocast(setting: Setting, device: str) -> Any:
    return torch.autocast(device, dtype=torch.bfloat16, enabled=setting.autocast)


def _step(setting: Setting, rgb: Tensor, target: Target | None) -> Callable[[], None]:
    network = _network(setting, 3).to(rgb.device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    label = torch.arange(setting.batch, device=rgb.device) % setting.classes

    def step() -> None:
        with _autocast(setting, rgb.device.type):
            logits = network(rgb)
            loss = F.cross_entropy(logits.float(), label)
            if target is not None:
                output = target()
                assert output.logits is not None
                loss = loss + kd.functional.logit_mse(logits, output.logits)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
