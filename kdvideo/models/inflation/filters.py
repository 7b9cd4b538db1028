"""The 3-D counterparts of 2-D layers: on a still video each gives, at every frame, what the 2-D layer gives.

Legend: B batch, C channels, T frames, H W space, O output and I input channels of a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdvideo.models.inception.layers import same_padding

Pair = tuple[int, int]
Fill = Callable[[Tensor, int], Tensor]
Combine = Callable[[Tensor, int], Tensor]


def average(kernel: Tensor, frames: int) -> Tensor:
    """Put the 2-D kernel at every time step, divided by their number: W[:, :, t] = w / T, as in I3D.

    Args:
        kernel: of the 2-D convolution, (O, I, H, W).
        frames: T, the kernel's new extent in time.

    Returns:
        (O, I, frames, H, W).

    Examples:
        >>> average(torch.full((1, 1, 1, 1), 6.0), 3).flatten()
        tensor([2., 2., 2.])
    """
    return kernel.unsqueeze(2).expand(-1, -1, frames, -1, -1) / frames


def center(kernel: Tensor, frames: int) -> Tensor:
    """Put the 2-D kernel at the middle time step (of an even number, the first of the middle two), zeros elsewhere.

    The 3-D layer then starts as the 2-D one on each frame.

    Args:
        kernel: of the 2-D convolution, (O, I, H, W).
        frames: T, the kernel's new extent in time.

    Returns:
        (O, I, frames, H, W).

    Examples:
        >>> center(torch.full((1, 1, 1, 1), 6.0), 3).flatten()
        tensor([0., 6., 0.])
    """
    filled = kernel.new_zeros(*kernel.shape[:2], frames, *kernel.shape[2:])
    filled[:, :, (frames - 1) // 2] = kernel
    return filled


def repeat_edges(clip: Tensor, kernel: int) -> Tensor:
    """Repeat the first and last frame of (B, C, T, H, W), so that `kernel` time steps fit around each frame."""
    if kernel == 1:
        return clip
    before, after = (kernel - 1) // 2, kernel // 2
    first, last = clip[:, :, :1], clip[:, :, -1:]
    # Slices and not F.pad: its backward is not deterministic on CUDA.
    return torch.cat([first.expand(-1, -1, before, -1, -1), clip, last.expand(-1, -1, after, -1, -1)], dim=2)


class EdgeConv3d(nn.Conv3d):
    """`nn.Conv3d` that pads zeros in space and repeats the edge frames in time; ceil(T / stride) frames result."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of (B, C, T, H, W) features."""
        if (self.kernel_size[0], self.stride[0]) == (1, 1):
            return self._of_frames(x)
        return super().forward(repeat_edges(x, self.kernel_size[0]))

    def _of_frames(self, x: Tensor) -> Tensor:
        """Convolve each frame by itself: 3-D convolutions, depthwise ones above all, take 2 to 3 times as long on CPUs.

        With the channels last frames are samples without a copy, and so are those of the next layer.
        """
        frames = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        layout = self.stride[1:], self.padding[1:], self.dilation[1:], self.groups
        output = F.conv2d(frames, self.weight.squeeze(2), self.bias, *layout)  # type: ignore[arg-type]
        return output.reshape(x.shape[0], x.shape[2], *output.shape[1:]).transpose(1, 2)


class SameConv3d(EdgeConv3d):
    """`EdgeConv3d` with TensorFlow's SAME padding in space, as timm's Conv2dSame: its size follows from the input's."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of (B, C, T, H, W) features; ceil(H / stride) rows and ceil(W / stride) columns."""
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel_size[1:], self.dilation[1:], strict=True)]
        pads = [same_padding(*axis) for axis in zip(x.shape[3:], spans, self.stride[1:], strict=True)]
        return super().forward(F.pad(x, [side for pad in reversed(pads) for side in pad]))


class FramePool(nn.Module):
    """A 2-D pool on each frame, then `combine` (a mean or a maximum) over windows of `kernel` time steps."""

    def __init__(self, pool: nn.Module, temporal: Pair, combine: Combine) -> None:
        super().__init__()
        self.pool = pool
        self.kernel, self.stride = temporal
        self.combine = combine

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled (B, C, T, H, W) features, ceil(T / stride) frames."""
        pooled = per_frame(x, self.pool)
        if (self.kernel, self.stride) == (1, 1):
            return pooled
        frames = pooled.shape[2]
        padded = repeat_edges(pooled, self.kernel)
        shifted = [padded[:, :, start : start + frames : self.stride] for start in range(self.kernel)]
        return self.combine(torch.stack(shifted, dim=2), 2)

    def extra_repr(self) -> str:
        """Show what the pool does in time."""
        return f"kernel={self.kernel}, stride={self.stride}, combine={self.combine.__name__}"


class ClipPool(nn.Module):
    """`combine` (a mean or a maximum) over all frames, then an adaptive 2-D pool; one frame results."""

    def __init__(self, pool: nn.Module, combine: Combine) -> None:
        super().__init__()
        self.pool, self.combine = pool, combine

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled (B, C, T, H, W) features, one frame."""
        pooled: Tensor = self.pool(self.combine(x, 2))
        return pooled.unsqueeze(2)

    def extra_repr(self) -> str:
        """Show what the pool does in time."""
        return f"combine={self.combine.__name__}"


class BatchNormAct3d(nn.BatchNorm3d):
    """Batch norm, drop layer and activation in one module, as timm's BatchNormAct2d."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized and activated (B, C, T, H, W) features."""
        output: Tensor = self.act(self.drop(super().forward(x)))
        return output


def conv3d(conv: nn.Conv2d, temporal: Pair, fill: Fill, kind: type[EdgeConv3d] = EdgeConv3d) -> nn.Module:
    """Return `conv` with a temporal (kernel size, stride), as a layer of `kind`; `fill` makes its 3-D kernel."""
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise ValueError(f"padding must be numbers, of zeros, got {conv.padding!r} in mode {conv.padding_mode!r}")
    kernel, stride = temporal
    new = kind(
        conv.in_channels,
        conv.out_channels,
        (kernel, *_pair(conv.kernel_size)),
        (stride, *_pair(conv.stride)),
        (0, *_pair(conv.padding)),
        (1, *_pair(conv.dilation)),
        conv.groups,
        device="meta",
    )
    with torch.no_grad():
        new.weight = nn.Parameter(fill(conv.weight, kernel).contiguous(), conv.weight.requires_grad)
    new.bias = conv.bias
    return new


def batch_norm3d(norm: nn.BatchNorm2d) -> nn.Module:
    """Return `norm` with the same parameters, over (B, T, H, W)."""
    fused = hasattr(norm, "act")
    kind = BatchNormAct3d if fused else nn.BatchNorm3d
    new = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
    names = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked", *(["drop", "act"] * fused)]
    for name in names:
        setattr(new, name, getattr(norm, name))
    return new


def per_frame(clip: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a 2-D pool to each frame of (B, C, T, H, W). Unlike 3-D pools its CUDA backward is deterministic."""
    b, c, t = clip.shape[:3]
    if clip.is_contiguous():  # frames as channels or as samples: whichever is a view
        pooled = pool(clip.flatten(1, 2))
        return pooled.view(b, c, t, *pooled.shape[2:])
    pooled = pool(clip.transpose(1, 2).flatten(0, 1))
    return pooled.view(b, t, *pooled.shape[1:]).transpose(1, 2)


def _pair(value: Any) -> Pair:
    h, w = (value, value) if isinstance(value, int) else value
    return h, w
