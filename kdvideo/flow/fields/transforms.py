"""Truncating, scaling, mirroring and resizing flow (..., 2, H, W) in pixels, u first."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdvideo._checks import check_tensor
from kdvideo._numbers import check_numbers, positive


def check_flow(flow: Tensor, *, dim: int = -3) -> None:
    """Raise ValueError unless `flow` is floating point with its two components along `dim`."""
    check_tensor(flow, "flow")
    axes = range(-flow.ndim, flow.ndim)
    if dim not in axes or flow.shape[dim] != 2 or flow.ndim < 3:
        raise ValueError(f"flow must be (...,2,H,W) with u and v along dimension {dim}, got {tuple(flow.shape)}")
    if not flow.is_floating_point():
        raise ValueError(f"flow must be floating point pixels, got {flow.dtype}: apply dequantize to stored flow")


def check_bound(bound: float) -> None:
    """Raise ValueError unless `bound` is a positive number of pixels."""
    check_numbers("a positive number of pixels", positive, bound=bound)


def check_size(size: object) -> None:
    """Raise ValueError unless `size` is (H, W) in pixels."""
    if (
        not isinstance(size, (tuple, list))
        or len(size) != 2
        or not all(isinstance(n, (int, torch.SymInt)) and n > 0 for n in size)
    ):
        raise ValueError(f"size must be (H, W) in whole pixels, got {size!r}")


def truncate(flow: Tensor, bound: float = 20.0) -> Tensor:
    """Clip every component to [-bound, bound] pixels; 20 is the value of I3D and D3D.

    Args:
        flow: any shape, pixels.
        bound: in pixels.

    Returns:
        The flow, of the same shape and dtype.

    Raises:
        ValueError: the bound is not positive.

    Examples:
        >>> truncate(torch.tensor([-30.0, 0.5, 21.0]))
        tensor([-20.0000,   0.5000,  20.0000])
    """
    check_bound(bound)
    return flow.clamp(-bound, bound)


def to_unit(flow: Tensor, bound: float = 20.0) -> Tensor:
    """Truncate flow and divide it by its bound: a network's input in [-1, 1], zero motion at 0.

    Args:
        flow: any shape, pixels.
        bound: in pixels.

    Returns:
        The flow in [-1, 1], of the same shape and dtype.

    Raises:
        ValueError: the bound is not positive.

    Examples:
        >>> to_unit(torch.tensor([-30.0, 0.0, 10.0]))
        tensor([-1.0000,  0.0000,  0.5000])
    """
    return truncate(flow, bound) / bound


def hflip(flow: Tensor, *, channel_dim: int = -3) -> Tensor:
    """Mirror flow left and right as that of mirrored frames: reverse the last axis and negate u.

    Args:
        flow: (..., 2, H, W), or any layout with W last, for instance clips (B,2,T,H,W) with
            `channel_dim=1`.
        channel_dim: the dimension that holds u and v.

    Returns:
        The flow of the mirrored frames, of the same shape.

    Raises:
        ValueError: the flow is no floating-point tensor, or `channel_dim` does not have size 2, or is the width.

    Examples:
        >>> hflip(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
        tensor([[[-2., -1.]],
        <BLANKLINE>
                [[ 4.,  3.]]])
    """
    check_flow(flow, dim=channel_dim)
    if channel_dim % flow.ndim == flow.ndim - 1:
        raise ValueError(f"channel_dim must not be the last dimension, which is the width, got {channel_dim}")
    u, v = flow.flip(-1).unbind(channel_dim)
    return torch.stack([-u, v], channel_dim % flow.ndim)


def resize(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize flow as that of resized frames: bilinear, values in the new pixels.

    Args:
        flow: (...,2,H,W) in pixels, u first.
        size: (H, W) of the new frames.

    Returns:
        (...,2,*size), in pixels of the new frames.

    Raises:
        ValueError: the flow has another shape or type, or `size` is not (H, W).

    Examples:
        >>> resize(torch.ones(2, 4, 4), (4, 8))[:, 0, 0]
        tensor([2., 1.])
    """
    check_flow(flow)
    check_size(size)
    height, width = flow.shape[-2:]
    flat = flow.reshape(-1, 2, height, width)
    out = F.interpolate(flat, size, mode="bilinear", align_corners=False)
    ratio = out.new_tensor([size[1] / width, size[0] / height])[:, None, None]
    return (out * ratio).reshape(*flow.shape[:-2], *size)


def area_pool(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Average flow over the cells of a coarser grid, with values left in input pixels.

    D3D's decoder target: the flow seen at a feature map's resolution (28 x 28), not the flow of
    smaller frames (that is `resize`).

    Args:
        flow: (...,2,H,W) in pixels.
        size: (H, W) of the grid, at most that of the flow.

    Returns:
        (...,2,*size), in pixels of the input.

    Raises:
        ValueError: the flow has another shape or type, or `size` is not (H, W) or larger.

    Examples:
        >>> area_pool(torch.ones(2, 4, 4), (2, 2)).shape
        torch.Size([2, 2, 2])
    """
    check_flow(flow)
    check_size(size)
    if size[0] > flow.shape[-2] or size[1] > flow.shape[-1]:
        raise ValueError(
            f"size must not be larger than the flow's {tuple(flow.shape[-2:])}, got {tuple(size)}: use resize"
        )
    flat = flow.reshape(-1, *flow.shape[-3:])
    return F.adaptive_avg_pool2d(flat, size).reshape(*flow.shape[:-2], *size)
