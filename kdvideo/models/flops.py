"""Counting multiply-adds."""

import copy

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(model: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of one forward pass in eval mode, counted on the meta device: nothing is computed.

    Convolutions and matrix products count; additions of a bias, norms, pools and activations do not.
    The inputs give shapes only and may live on the meta device. ``model`` is not changed.

    Examples:
        >>> import torch
        >>> multiply_adds(nn.Conv3d(3, 8, 3, padding=1), torch.empty(1, 3, 4, 5, 5, device="meta"))
        64800
    """
    model = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        model(*(x.to("meta") for x in inputs))
    return int(counter.get_total_flops()) // 2
