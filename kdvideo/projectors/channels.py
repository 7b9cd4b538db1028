"""Projectors that change the channels of a feature, at every position alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm3d):
    """Batch norm of (B, C) and of maps of 1 to 3 axes."""

    def _check_input_dim(self, input: Tensor) -> None:
        if not 2 <= input.ndim <= 5:
            raise ValueError(f"batch norm must be given (batch, channels, ...), got {tuple(input.shape)}")


def linear(in_channels: int, out_channels: int, *, bias: bool = True) -> nn.Linear:
    """Build a linear map of the last axis, for pooled features (B, C) and tokens (B, N, C).

    Args:
        in_channels: C of the student's feature.
        out_channels: C of the teacher's feature.
        bias: whether to add a bias.

    Returns:
        A layer from (..., in_channels) to (..., out_channels).

    Examples:
        >>> import torch
        >>> linear(8, 16)(torch.zeros(2, 8)).shape
        torch.Size([2, 16])
    """
    return nn.Linear(in_channels, out_channels, bias=bias)


def conv(in_channels: int, out_channels: int, *, bias: bool = True) -> PointwiseConv:
    """Build a 1×1×1 convolution: a linear map of the channels of (B, C, T, H, W), (B, C, H, W), (B, C, T) or (B, C).

    Args:
        in_channels: of the student's feature.
        out_channels: of the teacher's feature.
        bias: whether to add a bias.

    Returns:
        A `PointwiseConv`; the other axes stay.

    Examples:
        >>> import torch
        >>> conv(8, 16)(torch.zeros(2, 8, 4, 7, 7)).shape, conv(8, 16)(torch.zeros(2, 8, 7, 7)).shape
        (torch.Size([2, 16, 4, 7, 7]), torch.Size([2, 16, 7, 7]))

    Source:
        The regressor of Romero et al., "FitNets: Hints for Thin Deep Nets", 2015, arXiv 1412.6550.
    """
    return PointwiseConv(in_channels, out_channels, bias=bias)


def conv_bn(in_channels: int, out_channels: int, *, norm: Callable[[int], nn.Module] = BatchNorm) -> nn.Sequential:
    """Build a 1×1×1 convolution without bias, then a norm over the `out_channels`.

    Args:
        in_channels: of the student's feature.
        out_channels: of the teacher's feature.
        norm: function of the number of channels; batch norm of maps with any number of axes.

    Returns:
        The convolution and the norm, from (B, in_channels, ...) to (B, out_channels, ...).

    Examples:
        >>> import torch
        >>> conv_bn(8, 16)(torch.zeros(2, 8, 4, 7, 7)).shape
        torch.Size([2, 16, 4, 7, 7])
    """
    return nn.Sequential(conv(in_channels, out_channels, bias=False), norm(out_channels))


def bottleneck(in_channels: int, out_channels: int, *, factor: int = 2) -> nn.Sequential:
    """Build the projector of SimKD: 1×1, 3×3 and 1×1 convolutions, each with batch norm and ReLU, for (B, C, H, W).

    Args:
        in_channels: of the student's feature.
        out_channels: of the teacher's feature.
        factor: r, by which the middle is narrower than the teacher's feature; 2 in the paper.

    Returns:
        A module from (B, in_channels, H, W) to (B, out_channels, H, W), with values of at least 0.

    Raises:
        ValueError: a factor that is no whole number from 1 to `out_channels`.

    Examples:
        >>> import torch
        >>> bottleneck(8, 16)(torch.zeros(2, 8, 7, 7)).shape
        torch.Size([2, 16, 7, 7])

    Source:
        Chen et al., "Knowledge Distillation with the Reused Teacher Classifier", CVPR 2022, arXiv 2203.14001.
    """
    if not isinstance(factor, int) or not 1 <= factor <= out_channels:
        raise ValueError(f"factor must be 1 to out_channels = {out_channels}, got {factor!r}: a whole number")
    middle = out_channels // factor
    widths = ((in_channels, middle, 1), (middle, middle, 3), (middle, out_channels, 1))
    layers: list[nn.Module] = []
    for ours, theirs, kernel in widths:
        conv2d = nn.Conv2d(ours, theirs, kernel, padding=kernel // 2, bias=False)
        layers += [conv2d, nn.BatchNorm2d(theirs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def orthogonal(in_channels: int, out_channels: int, *, dim: int = 1) -> Orthogonal:
    """Build a linear map that keeps lengths and angles: see `Orthogonal`.

    Args:
        in_channels: of the student's feature, at most `out_channels`.
        out_channels: of the teacher's feature.
        dim: the channel axis: 1, or -1 for tokens.

    Returns:
        An `Orthogonal` with a random rotation drawn from torch's random numbers.

    Examples:
        >>> import torch
        >>> feature = torch.randn(2, 8, 7, 7)
        >>> torch.allclose(orthogonal(8, 16)(feature).norm(dim=1), feature.norm(dim=1), atol=1e-5)
        True
    """
    return Orthogonal(in_channels, out_channels, dim=dim)


class PointwiseConv(nn.Conv3d):
    """A linear map of axis 1 that takes maps of 0 to 3 axes; its weight is that of a 1×1×1 convolution.

    Args:
        in_channels: of the student's feature.
        out_channels: of the teacher's feature.
        bias: whether to add a bias.

    Raises:
        ValueError: in forward, fewer than 2 or more than 5 axes, or another number of channels on axis 1. A map
            without batch axis is never guessed.

    Examples:
        >>> layer = PointwiseConv(8, 16)
        >>> layer(torch.zeros(2, 8, 4, 7, 7)).shape, layer(torch.zeros(2, 8)).shape
        (torch.Size([2, 16, 4, 7, 7]), torch.Size([2, 16]))
        >>> layer.weight.shape
        torch.Size([16, 8, 1, 1, 1])
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1, bias=bias)

    def forward(self, feature: Tensor) -> Tensor:
        """Map the channels.

        Args:
            feature: (B, in_channels) with 0 to 3 more axes.

        Returns:
            (B, out_channels), the other axes as they were.
        """
        if not 2 <= feature.ndim <= 5 or feature.shape[1] != self.in_channels:
            raise ValueError(
                f"conv must be given (batch, {self.in_channels}, ...) with at most 3 axes after the channels, got "
                f"{tuple(feature.shape)}: use linear for tokens (batch, tokens, channels), unsqueeze(0) for no batch"
            )
        maps: tuple[Callable[..., Tensor], ...] = (F.linear, F.conv1d, F.conv2d, F.conv3d)
        axes = feature.ndim - 2
        weight = self.weight.reshape(self.out_channels, self.in_channels, *[1] * axes)
        return maps[axes](feature, weight, self.bias)


class Orthogonal(nn.Module):
    """A linear map P of the channels with orthonormal columns, PᵀP = 1, throughout training: lengths and angles stay.

    P = B · exp(A) restricted to the first `in_channels` columns, A = L − Lᵀ, L strictly lower triangular and
    learned from 0 on, B a random rotation that stays. So the student has to learn what a projector that
    may stretch would learn in its place. VkD also standardizes the teacher's feature over the batch before the squared
    error ("task-specific norm").

    Args:
        in_channels: of the student's feature, at most `out_channels`.
        out_channels: of the teacher's feature.
        dim: the channel axis: 1, or -1 for tokens.

    Raises:
        ValueError: more channels in than out: a map to fewer dimensions cannot keep lengths.

    Examples:
        >>> projector = Orthogonal(8, 16, dim=-1)
        >>> feature = torch.randn(2, 196, 8)  # tokens
        >>> projected = projector(feature)
        >>> projected.shape, torch.allclose(projected.norm(dim=-1), feature.norm(dim=-1), atol=1e-5)
        (torch.Size([2, 196, 16]), True)
        >>> torch.allclose(projector.weight.T @ projector.weight, torch.eye(8), atol=1e-5)
        True

    Source:
        Miles, Elezi, Deng, "VkD: Improving Knowledge Distillation using Orthogonal Projections", CVPR 2024,
        arXiv 2403.06213.
    """

    base: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, dim: int = 1) -> None:
        super().__init__()
        if not 0 < in_channels <= out_channels:
            raise ValueError(
                f"in_channels must be 1 to out_channels = {out_channels}, got {in_channels}: an orthogonal map cannot "
                "reduce; use linear or conv"
            )
        self.in_channels, self.dim = in_channels, dim
        self.lower = nn.Parameter(torch.zeros(out_channels, out_channels))
        self.register_buffer("base", nn.init.orthogonal_(torch.empty(out_channels, out_channels)))

    @property
    def weight(self) -> Tensor:
        """P, (out_channels, in_channels)."""
        # Half precision would lose the orthogonality, and has no matrix exponential.
        with torch.autocast(self.lower.device.type, enabled=False):
            lower = self.lower.tril(-1)
            lower, base = (one if one.dtype == torch.float64 else one.float() for one in (lower, self.base))
            rotation: Tensor = base @ torch.linalg.matrix_exp(lower - lower.mT)
            return rotation[:, : self.in_channels]

    def forward(self, feature: Tensor) -> Tensor:
        """Map the channels.

        Args:
            feature: `in_channels` on the axis `dim`; at least 2 axes.

        Returns:
            The same axes with `out_channels` on the axis `dim`, in the dtype of the feature.
        """
        if feature.ndim < 2 or feature.shape[self.dim] != self.in_channels:
            raise ValueError(
                f"orthogonal must be given {self.in_channels} channels on axis {self.dim}, got {tuple(feature.shape)}"
            )
        weight = self.weight.to(feature.dtype)
        return F.linear(feature.movedim(self.dim, -1), weight).movedim(-1, self.dim)
