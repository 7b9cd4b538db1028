"""The first convolution of a network for another number of input channels."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Filters = Callable[[Tensor, int], Tensor]  # (weight (O, C, ...), C') -> (O, C', ...)


def cycle_filters(weight: Tensor, in_channels: int) -> Tensor:
    """Repeat the input filters in their order.

    W'_oc = W_o,(c mod C) for c = 0 … C' - 1.

    This is the one place where the choice is stated. A constructor that is asked for other channels cycles: fresh
    filters so keep their distribution (`models.torchvision`, its published weights too, and `models.pytorchvideo`
    where the library knows RGB only). Weights that were trained on RGB and continue on another input are averaged
    (`average_filters`): that is `models.resize_stem`, and `models.inflated(pretrained=True)`. timm has its own way,
    which `models.timm` leaves as it is: published filters cycled and scaled by C / C', summed for one channel.

    Args:
        weight: (O, C, ...).
        in_channels: C'.

    Returns:
        (O, C', ...).

    Examples:
        >>> cycle_filters(torch.tensor([[1.0, 2.0, 3.0]]), 4)
        tensor([[1., 2., 3., 1.]])
    """
    return weight[:, [channel % weight.shape[1] for channel in range(in_channels)]]


def average_filters(weight: Tensor, in_channels: int) -> Tensor:
    """Give every channel the mean of the input filters.

    W'_oc = 1/C Σ_i W_oi for c = 1 … C'.

    Args:
        weight: (O, C, ...).
        in_channels: C'.

    Returns:
        (O, C', ...); every channel is the same memory.

    Examples:
        >>> average_filters(torch.tensor([[1.0, 2.0, 3.0]]), 2)
        tensor([[2., 2.]])

    Source:
        Wang et al.: Temporal Segment Networks, ECCV 2016, arXiv 1608.00859 (cross-modality initialization).
    """
    return weight.mean(1, keepdim=True).expand(-1, in_channels, *weight.shape[2:])


def replace_stem(
    network: nn.Module, in_channels: int, *, paths: Sequence[str] = (), filters: Filters = cycle_filters
) -> None:
    """Let the first convolution take `in_channels` channels, in place; all else about it stays.

    Args:
        network: its first convolution has one group.
        in_channels: C', the number of channels wanted.
        paths: of the convolutions that see the input, where there are several, as in RepVGG.
        filters: makes the new filters of the old ones.
    """
    convolutions = (name for name, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Conv3d)))
    for path in paths or [next(convolutions)]:
        old = network.get_submodule(path)
        assert isinstance(old, (nn.Conv2d, nn.Conv3d))
        if old.in_channels != in_channels:
            network.set_submodule(path, _with_filters(old, filters(old.weight.detach(), in_channels)))


def _with_filters(old: nn.Conv2d | nn.Conv3d, weight: Tensor) -> nn.Module:
    assert old.groups == 1
    new = copy.deepcopy(old)
    new.in_channels, new.bias = weight.shape[1], old.bias
    new.weight = nn.Parameter(weight.clone(memory_format=torch.contiguous_format))
    return new
