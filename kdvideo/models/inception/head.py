"""The classifier of S3D-G and I3D: pytorchvideo's basic head around a pool that shrinks to small features."""

import math

import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

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


def basic_head(in_channels: int, num_classes: int, *, dropout: float) -> nn.Module:
    """Build pytorchvideo's basic head: pool (2, 7, 7), dropout, linear with bias, mean over positions, (B, K)."""
    from pytorchvideo.models.head import create_res_basic_head  # takes seconds, so not at import

    head: nn.Module = create_res_basic_head(
        in_features=in_channels,
        out_features=num_classes,
        pool=lambda *, kernel_size, stride, padding: ShrinkingAvgPool3d(kernel_size),
        pool_kernel_size=(2, 7, 7),
        dropout_rate=dropout,
    )
    proj = head.get_submodule("proj")
    bound = math.sqrt(6 / (in_channels + num_classes))  # Glorot uniform
    nn.init.uniform_(proj.get_parameter("weight"), -bound, bound)
    nn.init.zeros_(proj.get_parameter("bias"))
    return head
