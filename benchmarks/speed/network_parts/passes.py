"""Forward passes and training steps under some settings: what the arms of `benchmarks.speed.models` run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Settings:
    """How a network is run; `RECOMMENDED` is what the docs tell users of a GPU."""

    bfloat16: bool = False
    channels_last: bool = False
    compile: bool = False


PLAIN = Settings()
FAST = Settings(bfloat16=True, channels_last=True)
RECOMMENDED = Settings(bfloat16=True, channels_last=True, compile=True)


def forward(network: nn.Module, clip: Tensor, settings: Settings) -> Callable[[], None]:
    """Return a forward pass in eval mode without gradients."""
    run, clip = _ready(network.eval(), clip, settings)

    @torch.no_grad()
    def step() -> None:
        with torch.autocast(clip.device.type, torch.bfloat16, enabled=settings.bfloat16):
            run(clip)

    return step


def training(network: nn.Module, clip: Tensor, settings: Settings) -> Callable[[], None]:
    """Return a training step: forward pass, cross-entropy, backward pass, SGD."""
    run, clip = _ready(network.train(), clip, settings)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    label = torch.zeros(len(clip), dtype=torch.long, device=clip.device)

    def step() -> None:
        with torch.autocast(clip.device.type, torch.bfloat16, enabled=settings.bfloat16):
            logits = run(clip)
        F.cross_entropy(logits.float(), label).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _ready(network: nn.Module, clip: Tensor, settings: Settings) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    layout = torch.channels_last_3d if settings.channels_last else torch.contiguous_format
    network = network.to(clip.device)
    for parameter in network.parameters():  # Module.to refuses networks that have kernels of images besides
        if parameter.dim() == 5:
            parameter.data = parameter.data.contiguous(memory_format=layout)
    run: Callable[[Tensor], Tensor] = torch.compile(network) if settings.compile else network
    return run, clip.contiguous(memory_format=layout)


def peak_memory(step: Callable[[], None]) -> float | None:
    """Measure the GiB that a step takes at most on the GPU beyond what is there between steps; None on a CPU."""
    if not torch.cuda.is_available():
        return None
    step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return round((torch.cuda.max_memory_allocated() - before) / 2**30, 2)
