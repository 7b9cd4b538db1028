"""The small networks of the ranking: a convolutional one, for maps of two or three axes, and a vision transformer.

Both name the features that a method may ask for by role: `early`, `middle` and `late` maps, the last one `before_relu`
(where the network has a ReLU there), and `pooled`, the mean of the late map over its positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvNet(nn.Module):
    """Three convolutions with batch norm and ReLU, the mean over positions, and a linear classifier.

    Args:
        channels: of the input.
        widths: of the first convolution and of the other two.
        classes: K.
        axes: of the maps, 2 or 3.
        strides: of the first two convolutions in height and width; time has none.
    """

    def __init__(
        self, channels: int, widths: tuple[int, int], classes: int, *, axes: int, strides: tuple[int, int]
    ) -> None:
        super().__init__()
        first, other = widths
        self.early = _convolution(channels, first, axes, strides[0])
        self.middle = _convolution(first, other, axes, strides[1])
        self.last = _convolution(other, other, axes, 1)
        self.head = nn.Linear(other, classes)
        self.paths = {"early": "early", "middle": "middle", "before_relu": "last.norm", "late": "last"}
        self.widths = {"early": first, "middle": other, "late": other, "pooled": other}

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        logits: Tensor = self.head(pooled(self.last(self.middle(self.early(x)))))
        return logits

    @property
    def classifier(self) -> nn.Module:
        """What turns the pooled feature into logits."""
        return self.head

    @property
    def norm(self) -> nn.Module | None:
        """The batch norm before the last ReLU."""
        norm: nn.Module = self.last.norm
        return norm


class ViT(nn.Module):
    """A vision transformer on images of 8 × 8 pixels: a convolutional stem, 16 tokens, and their mean.

    Args:
        width: of the tokens.
        depth: blocks, at least 2.
        classes: K.
    """

    def __init__(self, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.early = nn.Sequential(_convolution(1, width // 2, 2, 1), nn.Conv2d(width // 2, width, 2, 2))
        self.position = nn.Parameter(0.3 * torch.randn(1, 16, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.final = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        late = f"blocks.{depth - 1}"
        self.paths = {"early": "early", "middle": "blocks.0", "before_relu": late, "late": late}
        self.widths = dict.fromkeys(("early", "middle", "late", "pooled"), width)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        tokens = self.blocks(self.early(x).flatten(2).transpose(1, 2) + self.position)
        logits: Tensor = self.classifier(tokens.mean(1))
        return logits

    @property
    def classifier(self) -> nn.Module:
        """What turns the pooled feature into logits."""
        return nn.Sequential(self.final, self.head)

    @property
    def norm(self) -> nn.Module | None:
        """There is no batch norm before a last ReLU."""
        return None


class Block(nn.Module):
    """Attention with two heads and a perceptron, each after a layer norm and beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens (B, N, C)."""
        batch, tokens, width = x.shape
        query, key, value = self.inward(self.before(x)).view(batch, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(x.shape)
        x = x + self.outward(mixed)
        perceived: Tensor = self.perceptron(self.between(x))
        return x + perceived


Network = ConvNet | ViT


def taps(network: Network, roles: Sequence[str]) -> dict[str, Any]:
    """Return the `layers=` and `select=` with which a wrapper gives these roles as maps, and pooled as a vector."""
    layers: dict[str, list[str]] = {}
    for role in roles:
        layers.setdefault(network.paths["late" if role == "pooled" else role], []).append(role)
    return {"layers": layers, "select": {role: partial(_select, pool=role == "pooled") for role in roles}}


def pooled(feature: Tensor) -> Tensor:
    """Average a map (B, C, ...) over its positions."""
    return feature.flatten(2).mean(2)


def _select(feature: Tensor, *, pool: bool) -> Tensor:
    if feature.ndim == 3:  # tokens
        feature = feature.transpose(1, 2).reshape(len(feature), -1, 4, 4)
    return pooled(feature) if pool else feature


def _convolution(inward: int, outward: int, axes: int, stride: int) -> Any:
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d)
    strides = (1,) * (axes - 2) + (stride, stride)
    parts: Mapping[str, nn.Module] = {
        "conv": conv(inward, outward, 3, stride=strides, padding=1, bias=False),  # type: ignore[arg-type]
        "norm": norm(outward),
        "relu": nn.ReLU(),
    }
    layers = nn.Sequential()
    for name, module in parts.items():
        layers.add_module(name, module)
    return layers
