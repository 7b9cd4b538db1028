"""Projectors from a student's feature to the shape of the teacher's: `Student(..., projectors=)` takes them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int | None, int | None, int | None]


def linear(in_channels: int, out_channels: int, *, bias: bool = True) -> nn.Linear:
    """Build a linear map of the last axis, for pooled features (B, C) and tokens (B, N, C).

    Examples:
        >>> import torch
        >>> linear(8, 16)(torch.zeros(2, 8)).shape
        torch.Size([2, 16])
    """
    return nn.Linear(in_channels, out_channels, bias=bias)


def conv(in_channels: int, out_channels: int, *, bias: bool = True) -> nn.Conv3d:
    """Build a 1×1×1 convolution: a linear map of the channels of (B, C, T, H, W).

    Examples:
        >>> import torch
        >>> conv(8, 16)(torch.zeros(2, 8, 4, 7, 7)).shape
        torch.Size([2, 16, 4, 7, 7])

    Source:
        The regressor of Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, arXiv 1412.6550.
    """
    return nn.Conv3d(in_channels, out_channels, kernel_size=1, bias=bias)


def conv_bn(in_channels: int, out_channels: int, *, norm: Callable[[int], nn.Module] = nn.BatchNorm3d) -> nn.Sequential:
    """Build a 1×1×1 convolution without bias, then a norm over the `out_channels`.

    Examples:
        >>> import torch
        >>> conv_bn(8, 16)(torch.zeros(2, 8, 4, 7, 7)).shape
        torch.Size([2, 16, 4, 7, 7])
    """
    return nn.Sequential(conv(in_channels, out_channels, bias=False), norm(out_channels))


def pool(size: Size) -> nn.AdaptiveAvgPool3d:
    """Build an average pooling of (B, C, T, H, W) down to T×H×W; None keeps an axis.

    Examples:
        >>> import torch
        >>> nn.Sequential(conv(8, 16), pool((4, None, None)))(torch.zeros(2, 8, 8, 7, 7)).shape
        torch.Size([2, 16, 4, 7, 7])
    """
    return nn.AdaptiveAvgPool3d(size)


class Interpolate(nn.Module):
    """Trilinear interpolation of (B, C, T, H, W) to T×H×W, for features smaller than the teacher's.

    Args:
        size: (T, H, W); None keeps an axis.

    Examples:
        >>> import torch
        >>> Interpolate((8, 14, 14))(torch.zeros(2, 8, 4, 7, 7)).shape
        torch.Size([2, 8, 8, 14, 14])
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, feature: Tensor) -> Tensor:
        """Interpolate with half-pixel centres (`align_corners=False`)."""
        size = [wanted or given for wanted, given in zip(self.size, feature.shape[2:], strict=True)]
        return F.interpolate(feature, size=size, mode="trilinear", align_corners=False)
