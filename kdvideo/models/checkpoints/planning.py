"""Networks for given weights: planned without memory, compared, and only then built."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from kdvideo.models.build import build
from kdvideo.models.network import Network

# Builders also make layers that they replace, and layers without weights: hence this generosity.
MODULES_PER_TENSOR, MODULES, TIMES, NUMBERS = 10, 5_000, 4, 5 * 10**7


class TooLarge(ValueError):
    """The error of a network that is larger than its weights by far."""


def build_for(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], compare: Callable[[nn.Module], None]
) -> Network:
    """Build the network of a configuration, once `compare` has raised no error for it on the meta device.

    Args:
        config: see `build`.
        tensors: the weights that it is to take; a network with far more is not built.
        compare: gets the network without memory.

    Raises:
        ValueError: as `build`; the network has far more layers or numbers than the weights; or what `compare` raises.
    """
    with limited(tensors):
        plan = _plan(config)
        if plan is not None:
            compare(plan)
    with limited(tensors):
        return build(config)


def _plan(config: Mapping[str, Any]) -> Network | None:
    """Build a network without memory; None where its builder computes with what it makes."""
    try:
        with torch.device("meta"):
            return build(config)
    except TooLarge:
        raise
    except ValueError:
        return None


@contextmanager
def limited(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Raise `TooLarge` when this thread makes far more layers or numbers than there are."""
    modules = MODULES_PER_TENSOR * len(tensors) + MODULES
    numbers = TIMES * sum(value.numel() for value in tensors.values()) + NUMBERS
    left, thread = {"layers": modules, "weights": numbers}, threading.get_ident()

    def spend(what: str, count: int) -> None:
        left[what] -= count
        if left[what] < 0 and threading.get_ident() == thread:
            raise TooLarge(f"the configuration asks for far more {what} than the file has")

    def on_module(parent: nn.Module, name: str, child: nn.Module | None) -> None:
        spend("layers", 1)

    def on_tensor(parent: nn.Module, name: str, value: Tensor | None) -> None:
        spend("weights", 0 if value is None else value.numel())

    handles = [
        hooks.register_module_module_registration_hook(on_module),
        hooks.register_module_parameter_registration_hook(on_tensor),
        hooks.register_module_buffer_registration_hook(on_tensor),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
