"""Weights as int8, by torchao: a quarter of the bytes, the arithmetic stays in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LOW, HIGH = -127, 127


class Dequantize(nn.Module):
    """The weight of a layer as a function of its int8 numbers: w = s_o q, one scale s_o for each output channel."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.scale: Tensor

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the float32 weight."""
        return numbers.float() * self.scale


def quantize(network: nn.Module) -> nn.Module:
    """Replace the weights of convolutions and linear layers by int8 numbers, in place, and return the network.

    Raises:
        ImportError: torchao is not installed.

    Examples:
        >>> layer = quantize(nn.Linear(16, 4))
        >>> layer.parametrizations.weight.original.dtype, layer(torch.zeros(2, 16)).shape
        (torch.int8, torch.Size([2, 4]))
    """
    for module in list(network.modules()):
        weight = module._parameters.get("weight")
        if weight is not None and weight.ndim >= 2:
            numbers, scale = _numbers(weight.detach())
            del module.weight
            module.register_buffer("weight", numbers)
            parametrize.register_parametrization(module, "weight", Dequantize(scale), unsafe=True)
    return network


def _numbers(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 numbers and the scales (O, 1, ...) of a weight (O, ...)."""
    try:
        from torchao.quantization import quant_primitives as ao
    except ImportError as error:
        raise ImportError('int8 needs torchao: run pip install "kdvideo[export]"') from error
    block = (1, *weight.shape[1:])
    scale, zero = ao.choose_qparams_affine(
        weight, ao.MappingType.SYMMETRIC_NO_CLIPPING_ERR, block, torch.int8, LOW, HIGH, eps=1e-12
    )
    numbers = ao.quantize_affine(weight, block, scale, zero, torch.int8, LOW, HIGH)
    return numbers, scale.reshape(-1, *[1] * (weight.ndim - 1))
