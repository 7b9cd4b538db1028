"""The least time that a network's forward pass can take: its arithmetic, and its traffic with the memory."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo import models


def traffic(network: nn.Module, clip: Tensor) -> int:
    """Count the elements that convolutions, linear layers and pools read and write at least, each tensor once.

    What lies between them (norms, activations, gates) can be fused into them.
    """
    counted = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        counted += inputs[0].numel() + output.numel() + sum(p.numel() for p in module.parameters(recurse=False))

    kinds = (nn.Conv3d, nn.Linear, nn.MaxPool3d)
    handles = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    network(clip)
    for handle in handles:
        handle.remove()
    return counted


def floor(build: Any, shape: tuple[int, ...], ceilings: dict[str, float]) -> dict[str, float]:
    """Compute the milliseconds of arithmetic and of traffic in bfloat16 for a batch of clips (B,C,T,H,W)."""
    with torch.device("meta"):
        network, clip = build().eval(), torch.empty(shape)
    flops = 2 * models.multiply_adds(network, clip)
    moved = 2 * traffic(network, clip)
    return {
        "arithmetic_ms": round(flops / ceilings["flops_per_s"] * 1e3, 3),
        "traffic_ms": round(moved / ceilings["bytes_per_s"] * 1e3, 3),
    }


def ceilings() -> dict[str, float]:
    """Measure the rates of bfloat16 matrix products, and of copies counting bytes read and written."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(2**30, device="cuda", dtype=torch.float32)
    target = torch.empty_like(source)
    return {
        "flops_per_s": 2 * 8192**3 / _seconds(lambda: torch.mm(a, b)),
        "bytes_per_s": 2 * source.nbytes / _seconds(lambda: target.copy_(source)),
    }


def _seconds(run: Any, count: int = 10) -> float:
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(count):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / count
