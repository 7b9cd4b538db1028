"""S3D-G, S3D and I3D in the form that `torch.jit.script` takes: the same weights under the same names.

TorchScript knows no functions as values and no code that depends on the kind of a module, so the layers that have
faster forms for a device are here in their plain form: the same values, in somewhat more time.

Legend: B batch, C channels, T frames, H W space.
"""

import copy
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kdvideo.models.inception.head import ShrinkingAvgPool3d
from kdvideo.models.inception.layers import BatchNorm3d, Conv3d, MaxPool3d, SameMaxPool3d, StridedConv3d, same_padding
from kdvideo.models.network import Network


def scriptable(network: Network) -> nn.Module:
    """Return a network that shares its weights with another, and can be compiled by TorchScript."""
    memo = {id(tensor): tensor for tensor in [*network.parameters(), *network.buffers()]}
    layers = nn.Sequential(OrderedDict((name, copy.deepcopy(layer, memo)) for name, layer in network.named_children()))
    for path, module in list(layers.named_modules()):
        if type(module) in _PLAIN:
            layers.set_submodule(path, _PLAIN[type(module)](module))
    scripted = Scriptable(layers, network.in_channels)
    return scripted.train(network.training)


class Scriptable(nn.Sequential):
    """The layers, after a check of the clip."""

    def __init__(self, layers: nn.Sequential, channels: int) -> None:
        super().__init__(OrderedDict(layers.named_children()))
        self.channels = channels

    def forward(self, clip: Tensor) -> Tensor:
        """Return the (B, K) logits of a (B, C, T, H, W) clip."""
        if clip.dim() != 5 or clip.size(1) != self.channels or not clip.is_floating_point():
            raise ValueError(f"the clip must be float (B, {self.channels}, T, H, W), got {clip.size()}")
        if min(clip.size(2) * 4, clip.size(3), clip.size(4)) < 32:
            raise ValueError(f"the clip must have (T, H, W) >= (8, 32, 32), got {clip.size()}")
        x = clip
        for layer in self:
            x = layer(x)
        return x


class _StridedConv(nn.Module):
    """A stem whose padding depends on the size."""

    def __init__(self, conv: StridedConv3d) -> None:
        super().__init__()
        self.weight, self.same = conv.weight, conv.pad is same_padding
        self.kernel, self.stride = list(conv.kernel_size), list(conv.stride)

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (2, 1, 0):
            half = self.kernel[axis] // 2
            before, after = same_padding(x.size(axis + 2), self.kernel[axis], self.stride[axis])
            pads += [before, after] if self.same else [half, half]
        return F.conv3d(F.pad(x, pads), self.weight, None, self.stride)


class _SameMaxPool(nn.Module):
    """A max pool with SAME padding."""

    def __init__(self, pool: SameMaxPool3d) -> None:
        super().__init__()
        kernel, stride = pool.kernel_size, pool.stride
        self.kernel, self.stride = [int(n) for n in kernel], [int(n) for n in stride]

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (2, 1, 0):
            before, after = same_padding(x.size(axis + 2), self.kernel[axis], self.stride[axis])
            pads += [before, after]
        return F.max_pool3d(F.pad(x, pads, value=-math.inf), self.kernel, self.stride)


class _ShrinkingAvgPool(nn.Module):
    """An average whose kernel shrinks to the features."""

    def __init__(self, pool: ShrinkingAvgPool3d) -> None:
        super().__init__()
        self.kernel = list(pool.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        kernel = [min(self.kernel[0], x.size(2)), min(self.kernel[1], x.size(3)), min(self.kernel[2], x.size(4))]
        return F.avg_pool3d(x, kernel, [1, 1, 1])


def _of_torch(module: nn.Module) -> nn.Module:
    """Return a copied module as one of the class of torch that it extends."""
    module.__class__ = next(kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.nn"))
    return module


_PLAIN: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    BatchNorm3d: _of_torch,
    Conv3d: _of_torch,
    MaxPool3d: _of_torch,
    SameMaxPool3d: _SameMaxPool,
    ShrinkingAvgPool3d: _ShrinkingAvgPool,
    StridedConv3d: _StridedConv,
}
