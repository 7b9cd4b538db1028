"""Small networks that the tests of the core share."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class VideoNet(nn.Module):
    """(B, C, T, H, W) -> logits (B, 5); `stem`, `block` and `head` are its layers."""

    layer_names: ClassVar = {"1A": "stem", "2A": "block.0"}

    def __init__(self, channels: int = 3, width: int = 4, *, dropout: float = 0.0, norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv3d(channels, width, 3, padding=1)
        self.block = nn.Sequential(nn.BatchNorm3d(width) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(dropout))
        self.head = nn.Linear(width, 5)

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.block(self.stem(clip)).mean((2, 3, 4)))


class Twice(VideoNet):
    """Runs its head twice."""

    def forward(self, clip: Tensor) -> Tensor:
        pooled = self.stem(clip).mean((2, 3, 4))
        return self.head(pooled) + self.head(-pooled)


class Skips(VideoNet):
    """Never runs its block."""

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.stem(clip).mean((2, 3, 4)))


class Overwrites(VideoNet):
    """Changes the output of its stem in place."""

    def forward(self, clip: Tensor) -> Tensor:
        return self.head(self.stem(clip).relu_().mean((2, 3, 4)))


class Checkpoints(VideoNet):
    """Runs its stem inside a gradient checkpoint."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, clip: Tensor) -> Tensor:
        feature = checkpoint(self.stem, clip, use_reentrant=self.reentrant)
        return self.head(feature.mean((2, 3, 4)))


class Breaks(VideoNet):
    """Raises what it is told to, after its stem has run."""

    error: BaseException | None = None

    def forward(self, clip: Tensor) -> Tensor:
        feature = self.stem(clip)
        if self.error is not None:
            raise self.error
        return self.head(self.block(feature).mean((2, 3, 4)))


@dataclass
class Scores:
    logits: Tensor
    extra: int = 0


class Wraps(nn.Module):
    """Returns the logits of a VideoNet inside something, and lets its middle layer return a tuple."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.net = VideoNet()
        self.middle = Pair()
        self.kind = kind

    def forward(self, clip: Tensor) -> object:
        logits, _ = self.middle(self.net(clip))
        return {"tuple": (logits, 1), "dict": {"logits": logits}, "dataclass": Scores(logits)}[self.kind]


class Pair(nn.Module):
    def forward(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        return tensor * 1, tensor * 2


def clips(batch: int = 2, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, 4, 6, 6, generator=generator)
