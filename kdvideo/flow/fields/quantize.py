"""Flow as 8-bit numbers: a symmetric map in which zero is exact, and the linear map of older tools."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import check_tensor
from kdvideo._hints import kind
from kdvideo.flow.fields.transforms import check_bound, truncate


def quantize(flow: Tensor, bound: float = 20.0) -> Tensor:
    """Quantize flow to q = round(127 clip(u, +-bound) / bound) + 128 as uint8; no motion is 128 exactly.

    Within the bound the error after `dequantize` is at most bound / 254 pixels (0.079 at 20).

    Args:
        flow: any shape, pixels.
        bound: components are truncated to [-bound, bound].

    Returns:
        uint8 in 1..255, of the shape of the flow.

    Raises:
        ValueError: the flow is not floating point or not finite, or the bound is not positive.

    Examples:
        >>> quantize(torch.tensor([-25.0, 0.0, 20.0]))
        tensor([  1, 128, 255], dtype=torch.uint8)
    """
    if not isinstance(flow, Tensor) or not flow.is_floating_point():
        got = flow.dtype if isinstance(flow, Tensor) else f"{kind(flow)}: torch.as_tensor(flow)"
        raise ValueError(f"flow must be a tensor of floating point pixels, got {got}")
    if not torch.isfinite(flow).all():
        raise ValueError("flow has a component that is NaN or infinite")
    return (truncate(flow.float(), bound) * (127 / bound)).round_().add_(128).to(torch.uint8)


def dequantize(values: Tensor, bound: float = 20.0) -> Tensor:
    """Compute (q - 128) bound / 127: undoes `quantize` with the same bound.

    Args:
        values: uint8, any shape.
        bound: the bound with which they were quantized.

    Returns:
        float32 pixels, of the same shape.

    Raises:
        ValueError: the values are not uint8, or the bound is not positive.

    Examples:
        >>> dequantize(torch.tensor([1, 128, 255], dtype=torch.uint8))
        tensor([-20.,   0.,  20.])
    """
    check_bound(bound)
    _check_bytes(values)
    return (values.float() - 128) * (bound / 127)


def dequantize_tsn(values: Tensor, bound: float = 20.0) -> Tensor:
    """Compute 2 bound q / 255 - bound, for the flow images of TSN, denseflow and MMAction.

    That map has no number for zero: their tools store 128 for no motion, which becomes bound / 255.

    Args:
        values: uint8, any shape.
        bound: the bound the images were written with (20 in TSN and MMAction, 32 by denseflow's default).

    Returns:
        float32 pixels, of the same shape.

    Raises:
        ValueError: the values are not uint8, or the bound is not positive.

    Examples:
        >>> dequantize_tsn(torch.tensor([0, 128, 255], dtype=torch.uint8))
        tensor([-20.0000,   0.0784,  20.0000])

    Source:
        L. Wang et al., "Temporal Segment Networks", ECCV 2016, arXiv 1608.00859.
    """
    check_bound(bound)
    _check_bytes(values)
    return values.float() * (2 * bound / 255) - bound


def _check_bytes(values: Tensor) -> None:
    check_tensor(values, "quantized flow")
    if values.dtype != torch.uint8:
        raise ValueError(f"quantized flow must be uint8, got {values.dtype}")
