"""Run a network once and leave no trace: buffers, modes, random numbers and gradients stay as they are."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from kdvideo.features import FeatureExtractor
from kdvideo.projectors.layouts import CONVS, PatchMap


@contextlib.contextmanager
def untouched(*modules: nn.Module, inputs: Any) -> Iterator[None]:
    """Restore buffers, training modes and the state of random numbers, on all devices in use, afterwards."""
    every = [module for one in modules for module in one.modules()]
    modes = [(module, module.training) for module in every]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in every
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    state = random.getstate()
    try:
        with torch.random.fork_rng(_cuda_devices(modules, inputs)), torch.no_grad():
            yield
    finally:
        random.setstate(state)
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer
                # Written only where needed: a write counts as an in-place change for autograd.
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def recorded(extractor: FeatureExtractor, inputs: tuple[Any, ...]) -> tuple[dict[str, Tensor], list[PatchMap]]:
    """Run a network in evaluation mode; return its features and what its convolutions gave."""
    maps: list[PatchMap] = []

    def record(conv: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and isinstance(conv.kernel_size, tuple):
            patches = conv.kernel_size == conv.stride
            maps.append(PatchMap(conv.out_channels, tuple(output.shape[2:]), patches))  # type: ignore[arg-type]

    convs = [module for module in extractor.model.modules() if isinstance(module, CONVS)]
    handles = [conv.register_forward_hook(record) for conv in convs]
    try:
        return dict(extractor.eval()(*inputs).features), maps
    finally:
        for handle in handles:
            handle.remove()


def _cuda_devices(modules: tuple[nn.Module, ...], inputs: Any) -> list[int]:
    tensors = [leaf for leaf in pytree.tree_leaves(inputs) if isinstance(leaf, Tensor)]
    for module in modules:
        tensors += [*module.parameters(), *module.buffers()]
    return sorted({tensor.device.index or 0 for tensor in tensors if tensor.device.type == "cuda"})
