"""Projectors that change the size of a map, and no channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

Size = Sequence[int | None]

_AXES = {1: "T", 2: "H, W", 3: "T, H, W"}


def pool(size: Size) -> Pool:
    """Build an average pooling of a map down to `size`; None keeps an axis.

    Args:
        size: (T, H, W) for (B, C, T, H, W), (H, W) for (B, C, H, W), (T,) for (B, C, T).

    Returns:
        A `Pool`; each output position is the mean over its cells.

    Examples:
        >>> import torch
        >>> from kdvideo.projectors import conv
        >>> nn.Sequential(conv(8, 16), pool((4, None, None)))(torch.zeros(2, 8, 8, 7, 7)).shape
        torch.Size([2, 16, 4, 7, 7])
        >>> pool((4, 4))(torch.zeros(2, 8, 7, 7)).shape
        torch.Size([2, 8, 4, 4])
    """
    return Pool(size)


def checked_size(size: Size, *, keeps: bool = False) -> tuple[Any, ...]:
    """Return the size of a grid as a tuple; None, which keeps an axis, only where it may be there."""
    axes: tuple[Any, ...] = tuple(size) if isinstance(size, Sequence) and not isinstance(size, str) else ()
    if len(axes) not in _AXES or not all((keeps and n is None) or (hasattr(n, "__index__") and n > 0) for n in axes):
        advice = f": ({size}, {size}) for (B, C, H, W)" if hasattr(size, "__index__") else ""
        wanted = "1 to 3 positive integers" + (" or None" if keeps else "")
        raise ValueError(f"size must be {wanted}, got {axes or size!r}{advice}")
    return axes


class _Resize(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = checked_size(size, keeps=True)

    def _wanted(self, feature: Tensor) -> list[int]:
        if feature.ndim != len(self.size) + 2:
            raise ValueError(
                f"size {self.size} must be given a map (B, C, {_AXES[len(self.size)]}), got {tuple(feature.shape)}: "
                f"give one number for each of its {max(feature.ndim - 2, 0)} axes after the channels"
            )
        return [given if wanted is None else wanted for wanted, given in zip(self.size, feature.shape[2:], strict=True)]

    def extra_repr(self) -> str:
        """Return the size."""
        return str(self.size)


class Pool(_Resize):
    """Average pooling of a map to `size`; see `pool`.

    Args:
        size: (T, H, W), (H, W) or (T,); None keeps an axis.

    Raises:
        ValueError: a size of no or more than three axes, or not positive; in forward, a map with another number of
            axes than the size.

    Examples:
        >>> import torch
        >>> Pool((4, None, None))(torch.zeros(2, 8, 8, 7, 7)).shape
        torch.Size([2, 8, 4, 7, 7])
        >>> Pool((1, 2))(torch.arange(4.0).reshape(1, 1, 2, 2))
        tensor([[[[1., 2.]]]])
    """

    def forward(self, feature: Tensor) -> Tensor:
        """Take the mean over the cells of each output position.

        Args:
            feature: (B, C) and as many axes as the size has.

        Returns:
            (B, C, *size), where None in the size is the axis as it was.
        """
        size = self._wanted(feature)
        pools: tuple[Callable[..., Tensor], ...] = (
            F.adaptive_avg_pool1d,
            F.adaptive_avg_pool2d,
            F.adaptive_avg_pool3d,
        )
        return pools[len(size) - 1](feature, size)


class Interpolate(_Resize):
    """Linear interpolation of a map to `size` (bi- and trilinear with 2 and 3 axes), where the teacher's is larger.

    Args:
        size: (T, H, W), (H, W) or (T,); None keeps an axis.

    Raises:
        ValueError: as `Pool`.

    Examples:
        >>> import torch
        >>> Interpolate((8, 14, 14))(torch.zeros(2, 8, 4, 7, 7)).shape
        torch.Size([2, 8, 8, 14, 14])
    """

    def forward(self, feature: Tensor) -> Tensor:
        """Interpolate with half-pixel centers (`align_corners=False`).

        Args:
            feature: (B, C) and as many axes as the size has.

        Returns:
            (B, C, *size), where None in the size is the axis as it was.
        """
        size = self._wanted(feature)
        mode = ("linear", "bilinear", "trilinear")[len(size) - 1]
        return F.interpolate(feature, size=size, mode=mode, align_corners=False)
