"""I3D, Inception-v1 inflated to full 3D convolutions."""

from functools import partial
from typing import Any

from torch import nn

from kdvideo.models.inception.backbone import Inception3D, inception_layers, scaled_depth
from kdvideo.models.inception.head import basic_head
from kdvideo.models.inception.layers import conv_bn_relu
from kdvideo.models.network import InputSpec


def i3d(
    num_classes: int = 400,
    *,
    in_channels: int = 3,
    depth_multiplier: float = 1.0,
    min_depth: int = 16,
    dropout: float = 0.5,
    bn_scale: bool = False,
    input_range: tuple[float, float] = (-1.0, 1.0),
) -> Inception3D:
    """Build I3D, Inception-v1 with k x k x k convolutions: (B, C, T, H, W) -> (B, K) logits.

    Args:
        num_classes: K.
        in_channels: 3 for RGB, 2 for optical flow.
        depth_multiplier: scales every width, > 0.
        min_depth: the least width after scaling; 16 in TF-slim.
        dropout: probability in front of the classifier; 0.5 in the published graph.
        bn_scale: batch norm with gamma; the published graph has only the shift.
        input_range: the lowest and highest value that the weights are meant to see; recorded in `input_spec`.

    Returns:
        The network; `layer_names` maps the paper's layer names to module paths.

    Raises:
        ValueError: for an option out of range; at forward, for an input of another rank, type, channel count, or
            smaller than 8 x 32 x 32.

    Examples:
        >>> import torch
        >>> model = i3d(5, depth_multiplier=0.125, min_depth=8)
        >>> model(torch.zeros(2, 3, 8, 32, 32)).shape, model.layer_names["4C"]
        (torch.Size([2, 5]), 'mixed_4c')

    Source:
        Carreira, Zisserman: Quo Vadis, Action Recognition?, CVPR 2017, arXiv 1705.07750.
    """
    config: dict[str, Any] = {"architecture": "i3d", **locals()}

    def conv(layer: str, c_in: int, c_out: int, kernel: int) -> nn.Module:
        return conv_bn_relu(c_in, c_out, (kernel, kernel, kernel), scale=bn_scale)

    layers, widths = inception_layers(
        in_channels,
        depth=partial(scaled_depth, multiplier=depth_multiplier, minimum=min_depth),
        stem=partial(conv_bn_relu, kernel=(7, 7, 7), stride=(2, 2, 2), scale=bn_scale),
        conv=conv,
    )
    head = basic_head(widths["5C"], num_classes, dropout=dropout)
    spec = InputSpec(64, 224, value_range=input_range, fps=25.0)
    return Inception3D({**layers, "head": head}, builder=i3d, config=config, input_spec=spec)
