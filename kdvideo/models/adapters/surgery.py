"""Corrections of pytorchvideo's networks: logits, smaller clips, no overwritten inputs."""

import sys

import torch
from torch import Tensor, nn

from kdvideo.models.inception.head import ShrinkingAvgPool3d

PATHWAY_RATIO = 4  # SlowFast: fast frames per slow frame


class PooledConcat(nn.Module):
    """Pooling of every pathway, then concatenation of the channels; unlike pytorchvideo's it leaves its input alone."""

    def __init__(self, pools: nn.ModuleList) -> None:
        super().__init__()
        self.pool = pools

    def forward(self, pathways: list[Tensor]) -> Tensor:
        """Return the pooled pathways, one after the other along the channels."""
        return torch.cat([pool(x) for pool, x in zip(self.pool, pathways, strict=True)], dim=1)


def pathways(clip: Tensor) -> list[Tensor]:
    """Return SlowFast's two inputs: every fourth frame, spread from the first to the last, and all frames.

    Examples:
        >>> [tuple(x.shape) for x in pathways(torch.zeros(1, 3, 32, 8, 8))]
        [(1, 3, 8, 8, 8), (1, 3, 32, 8, 8)]
    """
    frames = clip.shape[2]
    count = frames // PATHWAY_RATIO
    if frames % PATHWAY_RATIO or count < 2:
        raise ValueError(f"frames must be a multiple of {PATHWAY_RATIO}, at least 8, for SlowFast, got {frames}")
    slow = torch.stack([clip[:, :, i * (frames - 1) // (count - 1)] for i in range(count)], dim=2)
    return [slow, clip]


def emit_logits(network: nn.Module) -> None:
    """Take the softmax or sigmoid off the head."""
    # Not head.activation = None: the type checker takes every attribute of a module for a tensor or a module.
    for head in ("detection_head", "head"):
        if hasattr(network, head):
            setattr(network.get_submodule(head), "activation", None)  # noqa: B010
            return
    setattr(_blocks(network)[-1], "activation", None)  # noqa: B010


def shrink_head_pools(network: nn.Module, *, whole_clip: bool) -> None:
    """Let head pools shrink to features smaller than their kernel.

    Args:
        network: changed in place.
        whole_clip: pool all time steps whatever the kernel, so that both pathways of SlowFast end with one.
    """
    heads = [network.detection_head] if hasattr(network, "detection_head") else []
    for parent in [m for end in [*_blocks(network)[-2:], *heads] for m in end.modules()]:
        for name, pool in parent.named_children():
            if isinstance(pool, nn.AvgPool3d):
                kernel = pool.kernel_size
                if kernel is None:
                    raise ValueError("the head's pool must have a kernel size, got None")
                t, h, w = (kernel,) * 3 if isinstance(kernel, int) else kernel
                setattr(parent, name, ShrinkingAvgPool3d((sys.maxsize if whole_clip else t, h, w)))


def keep_lists(network: nn.Module) -> None:
    """Stop SlowFast's blocks from overwriting the list that the block before gave out."""
    blocks = _blocks(network)
    for i, block in enumerate(blocks):
        if hasattr(block, "multipathway_blocks"):
            setattr(block, "inplace", False)  # noqa: B010
        elif isinstance(pools := getattr(block, "pool", None), nn.ModuleList):
            blocks[i] = PooledConcat(pools)


def _blocks(network: nn.Module) -> nn.ModuleList:
    """Return stem, stages and, unless it takes boxes, head; nothing for networks that are not a list of these."""
    blocks = getattr(getattr(network, "model", network), "blocks", None)
    return blocks if isinstance(blocks, nn.ModuleList) else nn.ModuleList()
