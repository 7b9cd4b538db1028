"""Batches moved to a device and completed there one ahead of the training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

Batch = dict[str, Any]


def prefetch_to_device(
    batches: Iterable[Mapping[str, Any]], compute: Callable[[Batch], Batch], *, device: torch.device | str
) -> Iterator[Batch]:
    """Move batches to a device and apply `compute` to each while the caller still works on the one before it.

    On a GPU a batch is copied and computed on a stream of its own, one batch ahead, so that it overlaps with
    what the caller has launched. On a CPU everything happens inline: a thread beside the training would compete
    with it for the cores. Batches come out in order; an exception of `batches` or `compute` is raised here.

    Args:
        batches: such as a `DataLoader`; with pinned memory the copies overlap too.
        compute: from a batch on the device to the batch that comes out; it must not need results of the
            caller's, such as the weights in training.
        device: where the tensors of a batch are moved; other values stay as they are.

    Yields:
        What `compute` returned, on the caller's current stream.

    Examples:
        >>> def double(batch):
        ...     return batch | {"twice": 2 * batch["x"]}
        >>> batches = [{"x": torch.tensor(k)} for k in range(3)]
        >>> [batch["twice"].item() for batch in prefetch_to_device(batches, double, device="cpu")]
        [0, 2, 4]
    """
    device = torch.device(device)
    if device.type != "cuda":
        for batch in batches:
            yield compute(_to(batch, device))
        return
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))  # what `compute` uses may still be in the making
    waiting: list[tuple[Batch, torch.cuda.Event]] = []
    for batch in batches:
        with torch.cuda.stream(side):
            waiting.append((compute(_to(batch, device)), side.record_event()))
        if len(waiting) == 2:
            yield _received(*waiting.pop(0), device)
    for last in waiting:
        yield _received(*last, device)


def _received(batch: Batch, computed: torch.cuda.Event, device: torch.device) -> Batch:
    """Hand tensors of the side stream to the caller's."""
    stream = torch.cuda.current_stream(device)
    stream.wait_event(computed)
    for leaf in pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor) and leaf.is_cuda:
            leaf.record_stream(stream)  # its memory must not be reused by the side stream while the caller reads it
    return batch


def _to(batch: Mapping[str, Any], device: torch.device) -> Batch:
    moved: Batch = pytree.tree_map(
        lambda leaf: leaf.to(device, non_blocking=True) if isinstance(leaf, Tensor) else leaf, dict(batch)
    )
    return moved
