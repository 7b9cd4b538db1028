"""Parameters and multiply-adds of a network."""

import copy
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdvideo.models.network import Network, check_network


class NetworkSummary(TypedDict):
    """Parameters, multiply-adds of one clip, and that clip's (C, T, H, W)."""

    parameters: int
    multiply_adds: int
    input: tuple[int, int, int, int]


def multiply_adds(model: nn.Module, *inputs: Tensor) -> int:
    """Count the multiply-adds of one forward pass in eval mode, on the meta device: nothing is computed.

    Convolutions and matrix products count; additions of a bias, norms, pools and activations do not.

    Args:
        model: is not changed.
        inputs: give shapes only and may live on the meta device.

    Returns:
        Their number.

    Examples:
        >>> multiply_adds(nn.Conv3d(3, 8, 3, padding=1), torch.empty(1, 3, 4, 5, 5, device="meta"))
        64800
    """
    model = copy.deepcopy(model).to("meta").eval()
    with FlopCounterMode(display=False) as counter:
        model(*(x.to("meta") for x in inputs))
    return int(counter.get_total_flops()) // 2


def summary(model: Network, *more: Tensor) -> NetworkSummary:
    """Count the parameters and multiply-adds of a network at the clip that its weights are meant to see.

    Args:
        model: on any device, the meta device included; nothing is computed.
        more: what its forward takes besides the clip, e.g. boxes.

    Returns:
        A dict of "parameters", "multiply_adds" of one clip, and "input", that clip's (C, T, H, W) by `input_spec`.

    Raises:
        ValueError: `model` is no `Network`.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> with torch.device("meta"):
        ...     model = s3dg()
        >>> summary(model)
        {'parameters': 9518848, 'multiply_adds': 64184810240, 'input': (3, 64, 224, 224)}
    """
    check_network(model, "multiply_adds(model, clip) counts those of any module")
    spec = model.input_spec
    shape = (model.in_channels, spec.frames, spec.size, spec.size)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "multiply_adds": multiply_adds(model, torch.empty(1, *shape, device="meta"), *more),
        "input": shape,
    }
