"""Conversion of a 2-D network to 3-D, module by module: what was checked is what runs."""

from __future__ import annotations

import copy
import difflib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from kdvideo.models.inflation.filters import ClipPool, Combine, Fill, FramePool, Pair, SameConv3d, batch_norm3d, conv3d
from kdvideo.models.inflation.operations import with_3d_forward

TemporalRule = Callable[[str, nn.Module], Pair]

ADVICE = (
    "What can be inflated: 2-D convolutions padded with zeros, batch norm, pools, activations, dropout and linear "
    "classifiers, joined by element-wise sums and products, means over space, and concatenations and slices of the "
    "channels, as in timm's resnet*, inception_*, densenet*, regnet*, efficientnet_* and tf_efficientnet_*"
)
# The same on (B, C, H, W), (B, C, T, H, W) and (B, C).
SAME = {
    *(nn.Identity, nn.Dropout, nn.Linear, nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.ELU, nn.LeakyReLU, nn.PReLU),
    *(nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus),
    *(nn.ModuleList, nn.ModuleDict),
}
COMBINE: dict[type[nn.Module], Combine] = {
    nn.AvgPool2d: torch.mean,
    nn.AdaptiveAvgPool2d: torch.mean,
    nn.MaxPool2d: torch.amax,
    nn.AdaptiveMaxPool2d: torch.amax,
}


def i3d_kernels(path: str, layer: nn.Module) -> Pair:
    """Choose I3D's kernel and stride in time: (k, 1) for k x k convolutions, (1, 1) otherwise.

    Unlike I3D's, no pool gets a temporal extent or stride: every layer keeps all T frames.

    Args:
        path: of the layer; it is not used.
        layer: the 2-D layer.

    Returns:
        (kernel, stride) in time.

    Examples:
        >>> i3d_kernels("conv1", nn.Conv2d(3, 8, 7)), i3d_kernels("branch", nn.Conv2d(3, 8, (1, 7)))
        ((7, 1), (1, 1))
    """
    if isinstance(layer, nn.Conv2d) and layer.kernel_size[0] == layer.kernel_size[1]:
        return layer.kernel_size[0], 1
    return 1, 1


class Converter:
    """Conversion of one network; `temporal` then holds [kernel, stride] of each layer that got more than [1, 1]."""

    def __init__(self, rule: TemporalRule | Mapping[str, Any], fill: Fill) -> None:
        self.rule, self.fill = rule, fill
        self.temporal: dict[str, list[int]] = {}
        self._asked: list[str] = []
        self._done: dict[nn.Module, nn.Module] = {}

    def __call__(self, network: nn.Module) -> nn.Module:
        """Return a 3-D copy of a 2-D network.

        Raises:
            ValueError: a layer or an operation is not known in 3-D, or the rule names a layer that is not there.
        """
        converted = self._convert(copy.deepcopy(network), "")
        unknown = sorted(set(self.rule) - set(self._asked)) if isinstance(self.rule, Mapping) else []
        if unknown:
            close = difflib.get_close_matches(unknown[0], self._asked, n=3, cutoff=0.3)
            raise ValueError(f"temporal must name convolutions and pools it has, got {unknown}: closest {close}")
        return converted

    def _convert(self, module: nn.Module, path: str) -> nn.Module:
        if module not in self._done:
            training = module.training
            for name, child in list(module._modules.items()):
                if child is not None:
                    setattr(module, name, self._convert(child, f"{path}.{name}" if path else name))
            try:
                self._done[module] = self._counterpart(module, path)
            except Exception as error:  # a forward may do anything with a traced value
                where = f"{path or 'the network'} ({type(module).__name__}) cannot be inflated"
                raise ValueError(f"{where}: {error}. {ADVICE}") from error
            self._done[module].training = training
        return self._done[module]

    def _counterpart(self, module: Any, path: str) -> Any:
        kind = type(module)
        timm = sys.modules.get("timm.layers")  # no need to import it: without it no network has its layers
        if kind is nn.Conv2d:
            return conv3d(module, self._temporal(path, module), self.fill)
        if timm and kind is timm.Conv2dSame:
            return conv3d(module, self._temporal(path, module), self.fill, SameConv3d)
        if kind is nn.AvgPool2d or (kind is nn.MaxPool2d and not module.return_indices):
            return FramePool(module, self._temporal(path, module), COMBINE[kind])
        if kind is nn.BatchNorm2d or (timm and kind is timm.BatchNormAct2d):
            return batch_norm3d(module)
        if kind is nn.AdaptiveAvgPool2d or (kind is nn.AdaptiveMaxPool2d and not module.return_indices):
            return ClipPool(module, COMBINE[kind])
        if kind is nn.Dropout2d:
            return nn.Dropout3d(module.p, module.inplace)
        same = kind in SAME or (timm and kind in (timm.DropPath, timm.Linear))
        flattens = kind is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1)
        if same or flattens or kind.forward is nn.Sequential.forward:
            return module
        return with_3d_forward(module, lambda layer, name: self._convert(layer, f"{path}.{name}" if path else name))

    def _temporal(self, path: str, layer: nn.Module) -> Pair:
        kernel, stride = self.rule.get(path, (1, 1)) if isinstance(self.rule, Mapping) else self.rule(path, layer)
        for number in (kernel, stride):
            if type(number) is not int or number < 1:
                raise ValueError(f"temporal kernel and stride must be integers >= 1, got {(kernel, stride)}")
        self._asked.append(path)
        if (kernel, stride) != (1, 1):
            self.temporal[path] = [kernel, stride]
        return kernel, stride
