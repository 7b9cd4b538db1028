"""The networks on which the wrappers are timed, and how their two layers are had by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import kdvideo as kd
from kdvideo import models

Shape = tuple[int, ...]


class Micro(nn.Module):
    """A network from clips (B,C,T,H,W) to logits (B,10)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(channels, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU())
        self.body = nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU())
        self.head = nn.Linear(8, 10)

    def forward(self, clip: Tensor) -> Tensor:
        """Compute the logits."""
        logits: Tensor = self.head(self.body(self.stem(clip)).mean((2, 3, 4)))
        return logits

    def with_features(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the logits and the features of stem and body."""
        low = self.stem(clip)
        high = self.body(low)
        return self.head(high.mean((2, 3, 4))), low, high


@dataclass(frozen=True)
class Subject:
    """A network of student and teacher, whose inputs have 3 and 2 channels.

    Attributes:
        text: what it is, for the table.
        build: number of input channels -> network.
        projector: of the first tapped layer.
        low, high: the paths of the tapped layers.
        shape: size of an input without batch and channels, (T, H, W) or nothing.
        steps: in a round, so that a round takes about a tenth of a second.
    """

    text: str
    build: Callable[[int], nn.Module]
    projector: Callable[[], nn.Module]
    low: str
    high: str
    shape: Shape
    steps: int

    @property
    def layers(self) -> dict[str, str]:
        """Path -> role."""
        return {self.low: "low", self.high: "high"}

    def networks(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Build student, teacher and projector, the same at every call."""
        torch.manual_seed(0)
        return self.build(3), self.build(2), self.projector()

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Draw the inputs of student and teacher."""
        return torch.randn(4, 3, *self.shape), torch.randn(4, 2, *self.shape)

    def with_features(self, network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the logits and both features without hooks."""
        if isinstance(network, Micro):
            return network.with_features(x)
        kept = {}
        for name, module in network.named_children():
            x = module(x)
            if name in self.layers:
                kept[name] = x
        return x, kept[self.low], kept[self.high]


def _deep(channels: int) -> nn.Sequential:
    """168 modules that compute next to nothing: what a wrapper does for each of them shows."""
    pairs = [layer for _ in range(82) for layer in (nn.Linear(16, 16), nn.ReLU())]
    return nn.Sequential(nn.Linear(channels, 16), nn.ReLU(), *pairs, nn.Linear(16, 10))


SUBJECTS = {
    "micro": Subject(
        "micro network, 10 modules", Micro, partial(kd.projectors.conv, 8, 8), "stem", "body", (4, 16, 16), 20
    ),
    "deep": Subject("168 modules of 16 units", _deep, partial(kd.projectors.linear, 16, 16), "55", "111", (), 20),
    "s3dg": Subject(
        "S3D-G, a quarter of the width, 424 modules",
        lambda channels: models.s3dg(10, in_channels=channels, depth_multiplier=0.25, dropout=0.0),
        partial(kd.projectors.conv, 128, 128),
        "mixed_4c",
        "mixed_5c",
        (8, 64, 64),
        1,
    ),
}
