"""Projectors between maps (B, C, T, H, W) and tokens (B, P + N, C).

The first P tokens, such as a class token, have no place in the map.
Token n of the rest is the n-th position of the map in row-major order: W runs fastest, then H, then T.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from kdvideo._numbers import check_numbers
from kdvideo.projectors.sizes import checked_size


class ToGrid(nn.Module):
    """Tokens (B, P + N, C) to a map (B, C, T, H, W): drop the first P, such as the class token, restore the grid.

    It has no parameter, so it also serves as `select=` of a teacher whose student has no class token.

    Args:
        size: of the grid: (T, H, W), (H, W) or (T,).
        prefix: P, the number of tokens before the grid: 1 for ViT, 2 for DeiT's distilled form, 5 with 4 registers,
            0 for video transformers without class token.

    Raises:
        ValueError: a size that is not 1 to 3 positive integers, a negative prefix; in forward, another
            number of tokens.

    Examples:
        >>> import torch
        >>> ToGrid((14, 14))(torch.zeros(2, 197, 192)).shape
        torch.Size([2, 192, 14, 14])
    """

    def __init__(self, size: Sequence[int], *, prefix: int = 1) -> None:
        super().__init__()
        self.size, self.prefix = checked_size(size), _count(prefix)

    def forward(self, tokens: Tensor) -> Tensor:
        """Drop the prefix and restore the grid.

        Args:
            tokens: (B, P + N, C), N the product of the size.

        Returns:
            (B, C, *size).
        """
        _check_tokens(tokens, self.prefix, self.size)
        channels_first: Tensor = rearrange(tokens[:, self.prefix :], "b n c -> b c n")
        return channels_first.reshape(*channels_first.shape[:2], *self.size)

    def extra_repr(self) -> str:
        """Return the grid."""
        return f"{self.size}, prefix={self.prefix}"


class ToTokens(nn.Module):
    """A map (B, C, T, H, W), (B, C, H, W) or (B, C, T) to tokens (B, P + N, C).

    Args:
        prefix: P, how many tokens to put before the grid; each is the mean over the map, which is a convolutional
            network's summary as the class token is a transformer's.

    Raises:
        ValueError: a negative prefix; in forward, no map.

    Examples:
        >>> import torch
        >>> ToTokens()(torch.zeros(2, 192, 14, 14)).shape, ToTokens(prefix=1)(torch.zeros(2, 192, 14, 14)).shape
        (torch.Size([2, 196, 192]), torch.Size([2, 197, 192]))
    """

    def __init__(self, *, prefix: int = 0) -> None:
        super().__init__()
        self.prefix = _count(prefix)

    def forward(self, feature: Tensor) -> Tensor:
        """Make the positions one axis.

        Args:
            feature: (B, C) and 1 to 3 axes.

        Returns:
            (B, P + N, C), N the number of positions.
        """
        if not 3 <= feature.ndim <= 5:
            raise ValueError(f"ToTokens must be given (batch, channels, 1 to 3 axes), got {tuple(feature.shape)}")
        tokens = rearrange(feature.flatten(2), "b c n -> b n c")
        if self.prefix == 0:
            return tokens
        summary = tokens.mean(1, keepdim=True).expand(-1, self.prefix, -1)
        return torch.cat([summary, tokens], dim=1)

    def extra_repr(self) -> str:
        """Return the prefix."""
        return f"prefix={self.prefix}"


class OnGrid(nn.Module):
    """Apply a projector of maps to the grid of tokens, and leave the tokens before the grid as they are.

    Args:
        body: from map to map with as many channels, such as `pool` or `Interpolate`.
        size: of the grid that the tokens form.
        prefix: the number of tokens before the grid.

    Raises:
        ValueError: as `ToGrid`.

    Examples:
        >>> import torch
        >>> from kdvideo.projectors import pool
        >>> OnGrid(pool((7, 7)), (14, 14))(torch.zeros(2, 197, 192)).shape
        torch.Size([2, 50, 192])
    """

    def __init__(self, body: nn.Module, size: Sequence[int], *, prefix: int = 1) -> None:
        super().__init__()
        self.body = body
        self.grid = ToGrid(size, prefix=prefix)

    def forward(self, tokens: Tensor) -> Tensor:
        """Apply the body to the grid.

        Args:
            tokens: (B, P + N, C), N the product of the size.

        Returns:
            (B, P + M, C), M the number of positions that the body leaves.
        """
        changed = rearrange(self.body(self.grid(tokens)).flatten(2), "b c n -> b n c")
        return torch.cat([tokens[:, : self.grid.prefix], changed], dim=1)


class PooledVector(nn.Module):
    """The mean of a map (B, C, ...) over its positions: (B, C).

    Examples:
        >>> import torch
        >>> PooledVector()(torch.zeros(2, 8, 4, 7, 7)).shape
        torch.Size([2, 8])
    """

    def forward(self, feature: Tensor) -> Tensor:
        """Take the mean.

        Args:
            feature: (B, C) and at least 1 more axis.

        Returns:
            (B, C).
        """
        if feature.ndim < 3:
            raise ValueError(f"PooledVector must be given (batch, channels, ...), got {tuple(feature.shape)}")
        return feature.flatten(2).mean(2)


def _count(prefix: int) -> int:
    check_numbers("0 or more", lambda value: isinstance(value, int) and value >= 0, prefix=prefix)
    return prefix


def _check_tokens(tokens: Tensor, prefix: int, size: tuple[int, ...]) -> None:
    if tokens.ndim != 3 or tokens.shape[1] != prefix + math.prod(size):
        raise ValueError(
            f"tokens must be (batch, {prefix} + {math.prod(size)}, channels) for the grid {size}, got "
            f"{tuple(tokens.shape)}: give the size of the grid and prefix=, the number of tokens before it"
        )
