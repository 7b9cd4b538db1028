"""What a network costs."""

from typing import TypedDict

import torch
from torch import Tensor

from kdvideo.models.flops import multiply_adds
from kdvideo.models.network import Network


class Summary(TypedDict):
    """Parameters, multiply-adds of one clip, and that clip's (C, T, H, W)."""

    parameters: int
    multiply_adds: int
    input: tuple[int, int, int, int]


def summary(model: Network, *more: Tensor) -> Summary:
    """Size and cost of a network at the clip that its weights are meant to see (``input_spec``).

    Args:
        model: on any device, the meta device included; nothing is computed.
        more: what its forward takes besides the clip, e.g. boxes.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> with torch.device("meta"):
        ...     model = s3dg()
        >>> summary(model)
        {'parameters': 9518848, 'multiply_adds': 64184810240, 'input': (3, 64, 224, 224)}
    """
    spec = model.input_spec
    shape = (model.in_channels, spec.frames, spec.size, spec.size)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "multiply_adds": multiply_adds(model, torch.empty(1, *shape, device="meta"), *more),
        "input": shape,
    }
