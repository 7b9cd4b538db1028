"""What the axes of a feature mean, read from its shape and from the network that made it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# A class token, or DeiT's two, or a class token with up to 15 registers.
_MOST_PREFIX = 16


@dataclass(frozen=True)
class Layout:
    """The axes of a feature.

    Args:
        shape: with the batch.
        tokens: whether it is (B, P + N, C), else (B, C, ...).
        grid: size of its map; () of a vector; None where tokens have none that is known, as in text.
        prefix: P, tokens before the grid.
    """

    shape: tuple[int, ...]
    tokens: bool
    grid: tuple[int, ...] | None
    prefix: int = 0

    @property
    def channels(self) -> int:
        """C."""
        return self.shape[-1] if self.tokens else self.shape[1]


@dataclass(frozen=True)
class PatchMap:
    """What a convolution gave in the dry run: its channels and the size of its map, whether its patches overlap."""

    channels: int
    size: tuple[int, ...]
    patches: bool


def layout(feature: Tensor, network: nn.Module, maps: Sequence[PatchMap], grid: Sequence[int] | None) -> Layout:
    """Say what the axes of a feature mean.

    Args:
        feature: of the dry run.
        network: that made it; its layers tell tokens (B, N, C) from maps (B, C, T).
        maps: what its convolutions gave, among them the patch embedding.
        grid: of the tokens, where the user names it.

    Raises:
        ValueError: channels that are the last axis of a map, a number of axes that no projector takes, or a grid of
            more positions than there are tokens.
    """
    shape = tuple(feature.shape)
    if not 2 <= len(shape) <= 5:
        raise ValueError(f"a feature must be (B, C), (B, N, C) or (B, C, 1 to 3 axes), got {shape}: select one that is")
    if grid is not None:
        return _with_grid(shape, tuple(grid))
    if len(shape) == 3 and not _has_channels_first(network, shape):
        found, prefix = _patch_grid(shape, maps)
        return Layout(shape, True, found, prefix)
    if len(shape) > 3 and _has_channels_last(network, shape):
        raise ValueError(
            f"the channels of {shape} seem to be its last axis: select={{role: lambda x: x.movedim(-1, 1)}} where "
            "the layer is tapped makes it a map"
        )
    return Layout(shape, False, shape[2:])


def _with_grid(shape: tuple[int, ...], grid: tuple[int, ...]) -> Layout:
    if len(shape) != 3 or shape[1] < math.prod(grid):
        raise ValueError(f"the grid {grid} needs tokens (B, {math.prod(grid)} or more, C), got {shape}")
    return Layout(shape, True, grid, shape[1] - math.prod(grid))


def _patch_grid(shape: tuple[int, ...], maps: Sequence[PatchMap]) -> tuple[tuple[int, ...] | None, int]:
    """Find the map of the patch embedding, or that map with H and W halved some times, among what convolutions gave."""
    _, count, width = shape
    near = [one for one in maps if 0 <= count - math.prod(one.size) <= _MOST_PREFIX]
    # The patch embedding gives as many channels as the tokens have; other convolutions of the network may not.
    near.sort(key=lambda one: (one.channels != width, not one.patches, count - math.prod(one.size)))
    if near:
        return near[0].size, count - math.prod(near[0].size)
    for one in maps:
        for halved in (2, 4, 8, 16):
            size = (*one.size[:-2], *(axis // halved for axis in one.size[-2:]))
            if one.patches and 0 <= count - math.prod(size) <= 1 and all(size):
                return size, count - math.prod(size)
    return None, 0


def _has_channels_first(network: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether (B, a, b) is a map (B, C, T): the network has 1-D layers of a channels and none of width b."""
    first = any(
        (isinstance(one, nn.Conv1d) and one.out_channels == shape[1])
        or (isinstance(one, nn.BatchNorm1d) and one.num_features == shape[1])
        for one in network.modules()
    )
    return first and not _has_width(network, shape[-1])


def _has_channels_last(network: nn.Module, shape: tuple[int, ...]) -> bool:
    first = any(
        (isinstance(one, CONVS) and one.out_channels == shape[1])
        or (isinstance(one, _NORMS) and one.num_features == shape[1])
        for one in network.modules()
    )
    return not first and shape[-1] > max(shape[1:-1]) and _has_width(network, shape[-1])


def _has_width(network: nn.Module, width: int) -> bool:
    return any(
        (isinstance(one, nn.LayerNorm) and one.normalized_shape[-1] == width)
        or (isinstance(one, nn.Linear) and one.out_features == width)
        for one in network.modules()
    )
