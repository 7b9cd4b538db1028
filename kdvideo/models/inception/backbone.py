"""The 3D Inception-v1 skeleton that S3D-G, S3D and I3D share."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from kdvideo._numbers import check_count
from kdvideo.models.inception.layers import SameMaxPool3d
from kdvideo.models.network import InputSpec, Network, Triple, check_clip

ConvFactory = Callable[[str, int, int, int], nn.Module]  # (layer, in_channels, out_channels, kernel) -> module
PoolFactory = Callable[[Triple, Triple], nn.Module]  # (kernel, stride) -> module
TailFactory = Callable[[str, int], Mapping[str, nn.Module]]  # (layer, channels) -> what ends a branch, by name

# Output channels of the branches: b0 | b1 reduce -> b1 | b2 reduce -> b2 | b3.
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "3B": (64, 96, 128, 16, 32, 32),
    "3C": (128, 128, 192, 32, 96, 64),
    "4B": (192, 96, 208, 16, 48, 64),
    "4C": (160, 112, 224, 24, 64, 64),
    "4D": (128, 128, 256, 24, 64, 64),
    "4E": (112, 144, 288, 32, 64, 64),
    "4F": (256, 160, 320, 32, 128, 128),
    "5B": (256, 160, 320, 32, 128, 128),
    "5C": (384, 192, 384, 48, 128, 128),
}
POOLS: dict[str, tuple[Triple, Triple]] = {
    "2A": ((1, 3, 3), (1, 2, 2)),
    "3A": ((1, 3, 3), (1, 2, 2)),
    "4A": ((3, 3, 3), (2, 2, 2)),
    "5A": ((2, 2, 2), (2, 2, 2)),
}
ORDER = ("1A", "2A", "2B", "2C", "3A", "3B", "3C", "4A", "4B", "4C", "4D", "4E", "4F", "5A", "5B", "5C")
MINIMUM: Triple = (8, 32, 32)  # the network's total stride in (T, H, W)


def module_path(layer: str) -> str:
    """Return the module path of a layer given by the paper's name: "2C" -> "conv_2c".

    Examples:
        >>> module_path("4A"), module_path("5C")
        ('maxpool_4a', 'mixed_5c')
    """
    kind = "mixed" if layer in MIXED else "maxpool" if layer in POOLS else "conv"
    return f"{kind}_{layer.lower()}"


def scaled_depth(channels: int, *, multiplier: float, minimum: int) -> int:
    """Return `channels` scaled by `multiplier`, at least `minimum`.

    Raises:
        ValueError: `multiplier` is not positive and finite, or `minimum` not an integer >= 1.

    Examples:
        >>> scaled_depth(192, multiplier=0.25, minimum=16), scaled_depth(32, multiplier=0.25, minimum=16)
        (48, 16)
    """
    if not isinstance(multiplier, (int, float)) or not 0 < multiplier < math.inf:
        raise ValueError(f"depth_multiplier must be a finite number > 0, got {multiplier!r}")
    check_count(min_depth=minimum)
    return max(int(channels * multiplier), minimum)


class Mixed(nn.Module):
    """An Inception block: four branches over the same input, concatenated along the channels."""

    def __init__(
        self, layer: str, in_channels: int, widths: list[int], conv: ConvFactory, tail: TailFactory, pool: PoolFactory
    ) -> None:
        super().__init__()
        b0, b1_reduce, b1, b2_reduce, b2, b3 = widths
        self.out_channels = b0 + b1 + b2 + b3

        def branch(width: int, **parts: nn.Module) -> nn.Sequential:
            return nn.Sequential(OrderedDict({**parts, **tail(layer, width)}))

        def reduced(reduce: int, width: int) -> nn.Sequential:
            first = conv(layer, in_channels, reduce, 1)
            return branch(width, conv_0a=first, conv_0b=conv(layer, reduce, width, 3))

        self.branch_0 = branch(b0, conv_0a=conv(layer, in_channels, b0, 1))
        self.branch_1 = reduced(b1_reduce, b1)
        self.branch_2 = reduced(b2_reduce, b2)
        self.branch_3 = branch(b3, maxpool_0a=pool((3, 3, 3), (1, 1, 1)), conv_0b=conv(layer, in_channels, b3, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the four branches, one after the other along the channels."""
        return torch.cat([self.branch_0(x), self.branch_1(x), self.branch_2(x), self.branch_3(x)], dim=1)


def inception_layers(
    in_channels: int,
    *,
    depth: Callable[[int], int],
    stem: Callable[[int, int], nn.Module],
    conv: ConvFactory,
    tail: TailFactory = lambda layer, channels: {},
    pool: PoolFactory = SameMaxPool3d,
) -> tuple[dict[str, nn.Module], dict[str, int]]:
    """Build the skeleton's layers by module path, in order, and count the channels that each of them gives.

    Raises:
        ValueError: `in_channels` is not an integer >= 1, or a width of `depth` is out of range.
    """
    check_count(in_channels=in_channels)
    layers: dict[str, nn.Module] = {}
    widths: dict[str, int] = {}
    channels = in_channels
    for name in ORDER:
        layer: nn.Module
        if name in POOLS:
            layer = pool(*POOLS[name])
        elif name in MIXED:
            layer = Mixed(name, channels, [depth(c) for c in MIXED[name]], conv, tail, pool)
            channels = layer.out_channels
        else:
            width = depth(192 if name == "2C" else 64)
            unit = stem(channels, width) if name == "1A" else conv(name, channels, width, 3 if name == "2C" else 1)
            layer = nn.Sequential(OrderedDict({"conv": unit, **tail(name, width)})) if name == "2C" else unit
            channels = width
        layers[module_path(name)], widths[name] = layer, channels
    return layers, widths


class Inception3D(Network, nn.Sequential):
    """Layers in the paper's order, then the head; called on (B, C, T, H, W) it returns (B, K) logits.

    `layer_names` maps the paper's layer names to module paths.

    Args:
        layers: path -> layer, in their order.
        builder: as in `Network`.
        config: as in `Network`.
        input_spec: as in `Network`.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> network = s3dg(5, depth_multiplier=0.125, min_depth=8)
        >>> isinstance(network, Inception3D), network.layer_names["4C"]
        (True, 'mixed_4c')
    """

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        *,
        builder: Callable[..., Network],
        config: dict[str, Any],
        input_spec: InputSpec,
    ) -> None:
        super().__init__(OrderedDict(layers))
        self.layer_names = {name: module_path(name) for name in ORDER}
        self.builder = builder
        self.config = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
        self.input_spec = input_spec

    def forward(self, clip: Tensor) -> Tensor:
        """Compute the logits of clips.

        Args:
            clip: float (B, C, T, H, W), normalized by `input_spec`.

        Returns:
            (B, K).
        """
        x = checked(clip, self.in_channels)
        for layer in self:
            x = layer(x)
        return x

    def __prepare_scriptable__(self) -> nn.Module:
        """Return the form of the network that `torch.jit.script` takes; it shares the weights."""
        from kdvideo.models.inception.scripting import scriptable

        return scriptable(self)


@torch.fx.wrap
def checked(clip: Tensor, channels: int) -> Tensor:
    """Return a clip in the layout that is fast on its device, or raise the `ValueError` of `check_clip`."""
    check_clip(clip, channels=channels, minimum=MINIMUM)
    if clip.device.type == "cpu":  # the layout in which CPU convolutions are faster, here 1.1 to 1.8 times
        return clip.contiguous(memory_format=torch.channels_last_3d)
    return clip
