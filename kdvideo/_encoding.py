"""How tensors of a teacher cache are stored: integers as they are, floating-point values in a smaller dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.int8, torch.float32, None)
SCALE = "scale."


def encode(name: str, values: Tensor, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Return what is stored for rows of values: tensors by name, on the CPU.

    int8: q = round(127 v / max |v|), with the maximum over each row stored beside it.
    """
    values = values.detach()
    if dtype == torch.int8 and values.is_floating_point():
        scale = values.float().reshape(len(values), -1).abs().amax(1) / 127
        wide = scale.clamp(min=torch.finfo(torch.float32).tiny).reshape(-1, *[1] * (values.ndim - 1))
        return {name: _stored((values.float() / wide).round().to(torch.int8)), SCALE + name: _stored(scale)}
    return {name: _stored(values.to(dtype) if dtype and values.is_floating_point() else values)}


def decode(values: Tensor, scale: Tensor | None) -> Tensor:
    """Return rows as they were given to `encode`, up to rounding."""
    return values if scale is None else values * scale.reshape(-1, *[1] * (values.ndim - 1))


def alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Tell whether two items hold the same values, up to a tenth of their norm, as dtypes and batches round them."""
    return all(
        values.shape == other[name].shape
        and bool(torch.dist(values.double(), other[name].double()) <= 0.1 * values.double().norm())
        for name, values in one.items()
    )


def _stored(values: Tensor) -> Tensor:
    return values.cpu().contiguous()


def broken_row(encoded: dict[str, Tensor]) -> int | None:
    """Return the first row that holds NaN or infinity; None where all are finite."""
    for values in encoded.values():
        if values.is_floating_point():
            wrong = ~values.isfinite().reshape(len(values), -1).all(1)
            if wrong.any():
                return int(wrong.nonzero()[0])
    return None


def padded(items: Sequence[Tensor], ids: Sequence[str], mask: Tensor | None) -> Tensor:
    """Return items (length, ...) as (B, N, ...), with their rows where the mask says."""
    lengths = [len(item) for item in items]
    if mask is None:
        if len(set(lengths)) > 1:
            raise ValueError(f"items have the lengths {lengths}: pass mask=, which says where their tokens go")
        return torch.stack(list(items))
    asked = mask.sum(1).tolist()
    if asked != lengths:
        pairs = [(clip, n, m) for clip, n, m in zip(ids, lengths, asked, strict=True) if n != m]
        raise ValueError(
            "mask must have as many tokens as were written, got {2} for {1} of {0!r}: is it another tokenizer?".format(
                *pairs[0]
            )
        )
    rows = torch.cat(list(items))
    whole = rows.new_zeros(*mask.shape, *rows.shape[1:])
    whole[mask.bool().cpu()] = rows
    return whole
