"""The classifier of S3D-G and I3D: a linear layer at every position around a pool that shrinks to small features."""

import math

import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from kdvideo._numbers import check_count
from kdvideo.models.network import Triple


class ShrinkingAvgPool3d(nn.Module):
    """Average pooling, stride 1, without padding; the kernel shrinks to the feature's size where it is smaller.

    With kernel (2, 7, 7), 8 feature steps give 7 positions: averaged afterwards the steps weigh 1/14, 1/7 x 6, 1/14.
    """

    def __init__(self, kernel_size: Triple) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        """Return the averages of (B, C, T, H, W) features, (B, C, T', H', W')."""
        return shrinking_average(x, self.kernel_size)


@torch.fx.wrap  # the sizes of a traced network may change
def shrinking_average(x: Tensor, kernel: Triple) -> Tensor:
    """Compute averages whose kernel shrinks to the features."""
    t, h, w = (min(k, n) for k, n in zip(kernel, x.shape[2:], strict=True))
    # The means below are the same average; unlike avg_pool3d their CUDA backward is deterministic.
    if (h, w) == x.shape[3:]:
        x = x.mean((3, 4), keepdim=True)
        steps = x.shape[2] - t + 1
        return sum((x[:, :, i : i + steps] for i in range(1, t)), x[:, :, :steps]) / t
    return F.avg_pool3d(x, (t, h, w), stride=1)


class BasicHead(nn.Module):
    """Pool, dropout, a linear layer at every position, and the mean over the positions: (B, C, T, H, W) to (B, K)."""

    def __init__(self, pool: nn.Module, dropout: nn.Module | None, proj: nn.Linear) -> None:
        super().__init__()
        self.pool, self.dropout, self.proj = pool, dropout, proj
        self.output_pool = nn.AdaptiveAvgPool3d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of features."""
        x = self.pool(x)
        if self.dropout is not None:
            x = self.dropout(x)
        logits: Tensor = self.output_pool(self.proj(x.movedim(1, -1)).movedim(-1, 1)).flatten(1)
        return logits


def basic_head(in_channels: int, num_classes: int, *, dropout: float) -> BasicHead:
    """Build the head: pool (2, 7, 7), dropout, linear with bias by Glorot's uniform start, mean over positions.

    Raises:
        ValueError: `num_classes` is not an integer >= 1, or `dropout` not in [0, 1].
    """
    check_count(num_classes=num_classes)
    if not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout must be a probability, 0 to 1, got {dropout!r}")
    proj = nn.Linear(in_channels, num_classes)
    bound = math.sqrt(6 / (in_channels + num_classes))
    nn.init.uniform_(proj.weight, -bound, bound)
    nn.init.zeros_(proj.bias)
    return BasicHead(ShrinkingAvgPool3d((2, 7, 7)), nn.Dropout(dropout) if dropout > 0 else None, proj)
