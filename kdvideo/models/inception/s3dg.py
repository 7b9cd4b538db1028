"""S3D-G, Inception-v1 with separable 3D convolutions and feature gating."""

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo.models.inception.backbone import MIXED, ORDER, Inception3D, inception_layers, module_path, scaled_depth
from kdvideo.models.inception.head import basic_head
from kdvideo.models.inception.layers import Conv3d, conv_bn_relu
from kdvideo.models.inception.non_local import non_local_block
from kdvideo.models.network import InputSpec

NON_LOCAL = ("4C", "4E")


class Gate(nn.Module):
    """Feature gating: y = x * sigmoid(W mean_{t,h,w}(x)), with W a C x C matrix without bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels, bias=False)
        nn.init.trunc_normal_(self.linear.weight, std=0.01, a=-0.02, b=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, T, H, W) features, each channel weighted between 0 and 1."""
        return x * torch.sigmoid(self.linear(x.mean((2, 3, 4))))[:, :, None, None, None]


def separable_conv(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    """Build a (1, k, k) conv, BN, ReLU, then a (k, 1, 1) conv with bias, started as the identity, and ReLU."""
    temporal = Conv3d(out_channels, out_channels, (kernel, 1, 1), padding=(kernel // 2, 0, 0))
    nn.init.zeros_(temporal.weight)
    nn.init.zeros_(temporal.get_parameter("bias"))
    with torch.no_grad():
        temporal.weight[:, :, kernel // 2, 0, 0].fill_diagonal_(1)
    parts = {
        "spatial": conv_bn_relu(in_channels, out_channels, (1, kernel, kernel)),
        "temporal": temporal,
        "relu": nn.ReLU(inplace=True),
    }
    return nn.Sequential(OrderedDict(parts))


def _starts(layer: str | None, argument: str) -> int:
    """Return the position in ORDER from which on an option holds."""
    if layer is None:
        return len(ORDER)
    if layer not in ORDER or ORDER.index(layer) < ORDER.index("2C"):
        raise ValueError(f"{argument} must be None or one of {ORDER[ORDER.index('2C') :]}, got {layer!r}")
    return ORDER.index(layer)


def _layer_key(layer: str) -> str:
    """Return the paper's name of a Mixed layer given by that name or by its module path."""
    for name in MIXED:
        if layer in (name, module_path(name)):
            return name
    raise ValueError(f"non_local must be layers among {tuple(MIXED)}, got {layer!r}")


def s3dg(
    num_classes: int = 400,
    *,
    in_channels: int = 3,
    depth_multiplier: float = 1.0,
    min_depth: int = 16,
    dropout: float = 0.2,
    first_temporal_kernel: int = 3,
    temporal_from: str | None = "2C",
    gates_from: str | None = "2C",
    non_local: tuple[str, ...] = (),
    input_range: tuple[float, float] = (-1.0, 1.0),
) -> Inception3D:
    """Build S3D-G, the network of D3D's teacher and student: (B, C, T, H, W) -> (B, K) logits.

    Args:
        num_classes: K.
        in_channels: 3 for RGB, 2 for optical flow.
        depth_multiplier: scales every width, > 0.
        min_depth: the least width after scaling; 16 in TF-slim.
        dropout: probability in front of the classifier; 0.2 in the published graph.
        first_temporal_kernel: 1, 3, 5 or 7, the temporal size of the (never separable) stem.
        temporal_from: the first layer ("2C", "3B" ... "5C") with temporal convolutions; None for none at all.
        gates_from: the first layer with gates; None for none at all.
        non_local: layers followed by a non-local block; `NON_LOCAL` is our default placement for NL S3D-G.
        input_range: the lowest and highest value that the weights are meant to see; recorded in `input_spec`.

    Returns:
        The network; `layer_names` maps the paper's layer names to module paths.

    Raises:
        ValueError: for an option out of range; at forward, for an input of another rank, type, channel count, or
            smaller than 8 x 32 x 32.

    Examples:
        >>> model = s3dg(5, in_channels=2, depth_multiplier=0.25)
        >>> model(torch.zeros(2, 2, 8, 32, 32)).shape, model.layer_names["3A"]
        (torch.Size([2, 5]), 'maxpool_3a')

    Source:
        Xie, Sun, Huang, Tu, Murphy: Rethinking Spatiotemporal Feature Learning, ECCV 2018, arXiv 1712.04851; details
        as in TF-slim's s3dg.py, which D3D (Stroud et al., WACV 2020, arXiv 1812.08249) builds on.
    """
    config: dict[str, Any] = {"architecture": "s3dg", **locals()}
    if first_temporal_kernel not in (1, 3, 5, 7):
        raise ValueError(f"first_temporal_kernel must be 1, 3, 5 or 7, got {first_temporal_kernel}")
    temporal, gates = _starts(temporal_from, "temporal_from"), _starts(gates_from, "gates_from")
    if isinstance(non_local, str):
        raise ValueError(f"non_local must be a tuple of layers, got {non_local!r}: ({non_local!r},)")
    attention = {_layer_key(layer) for layer in non_local}

    depth = partial(scaled_depth, multiplier=depth_multiplier, minimum=min_depth)

    def conv(layer: str, c_in: int, c_out: int, kernel: int) -> nn.Module:
        if kernel > 1 and ORDER.index(layer) >= temporal:
            return separable_conv(c_in, c_out, kernel)
        return conv_bn_relu(c_in, c_out, (1, kernel, kernel))

    def tail(layer: str, channels: int) -> dict[str, nn.Module]:
        return {"gate": Gate(channels)} if ORDER.index(layer) >= gates else {}

    stem = partial(conv_bn_relu, kernel=(first_temporal_kernel, 7, 7), stride=(2, 2, 2))
    layers, widths = inception_layers(in_channels, depth=depth, stem=stem, conv=conv, tail=tail)
    network: dict[str, nn.Module] = {}
    for (path, layer), (name, channels) in zip(layers.items(), widths.items(), strict=True):
        network[path] = layer
        if name in attention:
            network[f"non_local_{name.lower()}"] = non_local_block(channels)
    network["head"] = basic_head(widths["5C"], num_classes, dropout=dropout)
    spec = InputSpec(64, 224, value_range=input_range, fps=25.0)
    return Inception3D(network, builder=s3dg, config=config, input_spec=spec)
