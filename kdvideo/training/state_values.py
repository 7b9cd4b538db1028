"""What a checkpoint may hold: values that are read back without running code, and finite tensors."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from os import PathLike, fspath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

_AS_THEY_ARE = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size)


def readable(state: Any, where: str = "state") -> Any:
    """Convert a state to values that `torch.load(weights_only=True)` gives back.

    NumPy's numbers become Python's, its arrays tensors; paths, dates and times become text; every kind of dictionary,
    list and tuple one of its plain kind. Tensors stay the same objects, so that those which share memory still do.

    Args:
        state: tensors, numbers, text, and containers of them.
        where: what it is called in errors.

    Raises:
        ValueError: it holds anything else; the message names where.

    Examples:
        >>> readable({"best": np.float64(0.5), "at": date(2026, 1, 31)})
        {'best': 0.5, 'at': '2026-01-31'}
    """
    if isinstance(state, DTensor):
        raise ValueError(f"{where} must be whole in this process, got a DTensor: save it with ShardedCheckpoints")
    if isinstance(state, Tensor) or type(state) in _AS_THEY_ARE:
        return state
    if isinstance(state, np.ndarray) and state.dtype.kind in "biufc":
        return torch.from_numpy(state.copy())
    if isinstance(state, np.generic):
        return readable(state.item(), where)
    if isinstance(state, PathLike | date | time | timedelta):
        return fspath(state) if isinstance(state, PathLike) else str(state)
    if isinstance(state, Mapping):
        pairs = ((readable(key, f"a key of {where}"), readable(one, f"{where}[{key!r}]")) for key, one in state.items())
        return _ordered(state, pairs) if type(state) is OrderedDict else dict(pairs)
    if isinstance(state, list | tuple):
        items = [readable(one, f"{where}[{index}]") for index, one in enumerate(state)]
        return items if isinstance(state, list) else tuple(items)
    if isinstance(state, set | frozenset):
        return {readable(one, f"an item of {where}") for one in state}
    for kind in (bool, int, float, str):  # such as an enumeration's members
        if isinstance(state, kind):
            return kind(state)
    advice = "save its state_dict(), numbers or text"
    raise ValueError(f"{where} must be a tensor, number, text or container, got {type(state).__name__}: {advice}")


def _ordered(state: OrderedDict[Any, Any], pairs: Iterator[tuple[Any, Any]]) -> OrderedDict[Any, Any]:
    copy = OrderedDict(pairs)
    metadata = getattr(state, "_metadata", None)  # a module's state_dict keeps the versions of its layers there
    if isinstance(metadata, Mapping):
        copy._metadata = readable(metadata)  # type: ignore[attr-defined]
    return copy


def not_finite(state: Any, where: str = "state") -> Iterator[str]:
    """Yield the names of tensors in a state that hold NaN or +inf; -inf, as attention masks hold it, is let through.

    A tensor of no dimension, such as a best loss so far, may be anything.

    Examples:
        >>> list(not_finite({"a": torch.tensor([1.0, math.nan]), "b": [torch.ones(2)]}))
        ["state['a']"]
    """
    if isinstance(state, Tensor):
        values = state.to_local() if isinstance(state, DTensor) else state.detach()
        # One reduction says both: the largest of values with a NaN among them is NaN, which is below nothing.
        if values.is_floating_point() and values.ndim and values.numel() and not bool(_largest(values) < math.inf):
            yield where
    elif isinstance(state, Mapping):
        for key, one in state.items():
            yield from not_finite(one, f"{where}[{key!r}]")
    elif isinstance(state, list | tuple):
        for index, one in enumerate(state):
            yield from not_finite(one, f"{where}[{index}]")


def _largest(values: Tensor) -> Tensor:
    return values.float().amax() if values.element_size() == 1 else values.amax()  # 8-bit floats know no amax
