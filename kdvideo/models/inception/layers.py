"""Convolution, pooling and batch norm of S3D-G, S3D and I3D, in the forms that are exact and fast.

Legend: B batch, C channels, T frames, H W space.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
import torch.fx
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from kdvideo.models.network import Triple

Pad = Callable[[int, int, int], tuple[int, int]]  # (size, kernel, stride) -> (before, after)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return (before, after) of TensorFlow's SAME padding along one axis: out = ceil(size / stride), odd rest after.

    Examples:
        >>> same_padding(224, 7, 2), same_padding(57, 7, 2)
        ((2, 3), (3, 3))
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def half_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return (before, after) of PyTorch's usual padding along one axis: half the kernel on both sides."""
    return kernel // 2, kernel // 2


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` whose bfloat16 gradient is right on CPUs.

    oneDNN (torch 2.13) returns garbage or NaN as the weight gradient of a temporal kernel of 3 over just 2 frames; a
    third frame of zeros, the padding itself, changes no value and avoids that path.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of (B, C, T, H, W) features."""
        return conv3d(x, self.weight, self.bias, self.stride, self.padding)


# What depends on sizes, device or layout is in functions that `torch.fx` takes as they are, so that a traced network
# computes as this one does, at any size.
@torch.fx.wrap
def conv3d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: str | tuple[int, ...]
) -> Tensor:
    """Compute `torch.nn.functional.conv3d`, right also for bfloat16 on CPUs."""
    half = x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
    if x.device.type == "cpu" and half and x.shape[2] == 2 and weight.shape[2] == 3:
        return F.conv3d(F.pad(x, (0, 0, 0, 0, 0, 1)), weight, bias, stride, padding)[:, :, :2]
    return F.conv3d(x, weight, bias, stride, padding)


class StridedConv3d(nn.Conv3d):
    """A stem: `nn.Conv3d` without bias whose padding is a function of the input's size.

    Tensor cores idle over 2 or 3 channels, so on a GPU the same sums run as a 2-D convolution with stride 1 over
    many channels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: Triple, stride: Triple, pad: Pad) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, bias=False)
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of (B, C, T, H, W) features; T', H' and W' are as the padding makes them."""
        return strided_conv3d(x, self.weight, self.stride, same=self.pad is same_padding)


@torch.fx.wrap
def strided_conv3d(x: Tensor, weight: Tensor, stride: tuple[int, ...], *, same: bool) -> Tensor:
    """Compute conv3d of features with SAME padding, or with that of half the kernel."""
    pad = same_padding if same else half_padding
    axes = zip(x.shape[2:], weight.shape[2:], stride, strict=True)
    return padded_conv3d(x, weight, None, stride, [pad(*axis) for axis in axes])


def padded_conv3d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], pads: list[tuple[int, int]]
) -> Tensor:
    """Compute conv3d of features that are padded by (before, after) along T, H and W."""
    if x.is_cuda and bias is None and weight.shape[1] < 8:
        return folded_conv3d(x, weight, stride, pads)
    before = [b for b, _ in pads]
    if any(b != a for b, a in pads):  # conv3d pads both sides alike: the odd rest needs a padded copy
        x = F.pad(x, [p for pair in reversed(pads) for p in pair])
        before = [0, 0, 0]
    return F.conv3d(x, weight, bias, stride, before)


def folded_conv3d(x: Tensor, weight: Tensor, stride: Sequence[int], pads: list[tuple[int, int]]) -> Tensor:
    """Compute conv3d(pad(x), weight, stride=stride) as a conv2d over C * kernel_t * stride_h * stride_w channels.

    Blocks of stride_h x stride_w pixels become channels, in the input and in the kernel, and so do the kernel_t frames
    under each output frame; what is left is a convolution with stride 1 over H / stride_h x W / stride_w positions.
    """
    _, h, w = stride
    axes = list(zip(x.shape[3:], weight.shape[3:], (h, w), pads[1:], strict=True))
    missing = [-k % s for _, k, s, _ in axes]  # zeros that make the kernel a multiple of the stride
    # Behind the input: as far as the last window reaches; negative, which crops, where the strides leave some over.
    after = [(n + b + a - k) // s * s + k + m - n - b for (n, k, s, (b, a)), m in zip(axes, missing, strict=True)]
    (top, _), (left, _) = pads[1:]
    x = F.pad(x, (left, after[1], top, after[0], *pads[0]))
    weight = F.pad(weight, (0, missing[1], 0, missing[0]))
    steps = x.unfold(2, weight.shape[2], stride[0])  # (B, C, T, H, W, kernel_t)
    frames = rearrange(steps, "b c T (H h) (W w) t -> (b T) H W (t h w c)", h=h, w=w)
    kernel = rearrange(weight, "o c t (H h) (W w) -> o H W (t h w c)", h=h, w=w)
    out = F.conv2d(frames.movedim(-1, 1), kernel.movedim(-1, 1))
    return rearrange(out, "(b T) c H W -> b c T H W", b=len(x))


class MaxPool3d(nn.MaxPool3d):
    """`nn.MaxPool3d` as a pool over space, then one over time: the same values, in less time on CPUs and GPUs.

    A maximum over a box is the maximum over time of the maxima over space: k_h k_w + k_t comparisons instead of
    k_h k_w k_t.
    """

    kernel_size: Triple
    stride: Triple
    padding: Triple

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima of (B, C, T, H, W) features."""
        return separable_max_pool3d(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)


class SameMaxPool3d(MaxPool3d):
    """Max pooling with TensorFlow's SAME padding; `ceil_mode` supplies the odd rest without a copy."""

    def __init__(self, kernel_size: Triple, stride: Triple) -> None:
        super().__init__(kernel_size, stride, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima of (B, C, T, H, W) features, ceil(size / stride) along each axis."""
        return same_max_pool3d(x, self.kernel_size, self.stride)


@torch.fx.wrap
def same_max_pool3d(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Compute the maxima with SAME padding."""
    t, h, w = (same_padding(*axis)[0] for axis in zip(x.shape[2:], kernel, stride, strict=True))
    return separable_max_pool3d(x, kernel, stride, (t, h, w), ceil_mode=True)


@torch.fx.wrap
def separable_max_pool3d(x: Tensor, kernel: Triple, stride: Triple, padding: Triple, *, ceil_mode: bool) -> Tensor:
    """Compute `torch.nn.functional.max_pool3d` in two 2-D pools over views of the input, in either memory layout."""
    if (*kernel[1:], *stride[1:]) != (1, 1, 1, 1):
        plain = x.is_contiguous()  # T goes with C, else with B: whichever needs no copy
        x = x if plain else x.transpose(1, 2)
        outer = x.shape[:3]
        x = F.max_pool2d(
            x.flatten(1, 2) if plain else x.flatten(0, 1), kernel[1:], stride[1:], padding[1:], 1, ceil_mode
        )
        x = x.view(*outer, *x.shape[2:])
        x = x if plain else x.transpose(1, 2)
    if (kernel[0], stride[0]) != (1, 1):
        space = x.shape[3:]
        x = F.max_pool2d(merge_space(x), (kernel[0], 1), (stride[0], 1), (padding[0], 0), 1, ceil_mode)
        x = split_space(x, space)
    return x


def merge_space(x: Tensor) -> Tensor:
    """Reshape (B, C, T, H, W) to (B, C, T, H W) without a copy, in either memory layout.

    A plain view of one clip with the channels last gets a stride that hides this layout from what comes next.
    """
    return x.flatten(3) if x.is_contiguous() else x.movedim(1, -1).flatten(2, 3).movedim(-1, 1)


def split_space(x: Tensor, space: Sequence[int]) -> Tensor:
    """Invert `merge_space`."""
    b, c, t, _ = x.shape
    return x.view(b, c, t, *space) if x.is_contiguous() else x.movedim(1, -1).view(b, t, *space, c).movedim(-1, 1)


class BatchNorm3d(nn.BatchNorm3d):
    """`nn.BatchNorm3d` with eps 1e-3 and momentum 1e-3, and no gamma unless `scale`: `weight` is None then.

    TF-slim leaves gamma out because a ReLU and a convolution follow, whose weights can take any positive factor.
    On a GPU H and W are merged: PyTorch has fast kernels there for four axes with the channels last and not for five;
    on a CPU it is the other way round. Without its weight PyTorch's own cannot run backward on CUDA (torch 2.11), so
    a one stands in for it.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, *, scale: bool) -> None:
        super().__init__(channels, eps=1e-3, momentum=1e-3)
        if not scale:
            self.register_parameter("weight", None)

    def reset_parameters(self) -> None:
        """Start with statistics of zero and one, beta zero and, where there is one, gamma one."""
        self.reset_running_stats()
        nn.init.zeros_(self.bias)
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T, H, W) features, normalized over (B, T, H, W)."""
        statistics = self.running_mean, self.running_var, self.num_batches_tracked
        return batch_norm(x, self.weight, self.bias, statistics, self.training, self.momentum, self.eps)


@torch.fx.wrap
def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor,
    statistics: tuple[Tensor, Tensor, Tensor],
    training: bool,
    momentum: float | None,
    eps: float,
) -> Tensor:
    """Compute batch norm of (B, C, T, H, W) features, in the form that is fast on their device.

    Args:
        x: features.
        weight: gamma; None for one.
        bias: beta.
        statistics: mean, variance and the number of batches, which change in training.
        training: whether the batch's own statistics are used.
        momentum: weight of a batch in the running statistics; None for the mean over all batches.
        eps: added to the variance.
    """
    mean, var, batches = statistics
    share = 0.0 if momentum is None else momentum
    if training:
        batches.add_(1)
        if momentum is None:  # as in torch.optim.swa_utils.update_bn
            share = 1.0 / float(batches)
    gamma = torch.ones_like(mean) if weight is None else weight
    out = F.batch_norm(merge_space(x) if x.is_cuda else x, mean, var, gamma, bias, training, share, eps)
    return split_space(out, x.shape[3:]) if x.is_cuda else out


def conv_bn_relu(
    in_channels: int,
    out_channels: int,
    kernel: Triple,
    *,
    stride: Triple = (1, 1, 1),
    scale: bool = False,
    pad: Pad = same_padding,
) -> nn.Sequential:
    """Build a convolution without bias, batch norm and ReLU.

    The ReLU is not in place: on the view that batch norm returns, that would cost a copy in every backward pass.
    """
    conv: nn.Conv3d
    if stride == (1, 1, 1):
        t, h, w = kernel
        conv = Conv3d(in_channels, out_channels, kernel, stride, (t // 2, h // 2, w // 2), bias=False)
    else:
        conv = StridedConv3d(in_channels, out_channels, kernel, stride, pad)
    nn.init.trunc_normal_(conv.weight, std=0.01, a=-0.02, b=0.02)
    parts = {"conv": conv, "bn": BatchNorm3d(out_channels, scale=scale), "relu": nn.ReLU()}
    return nn.Sequential(OrderedDict(parts))
