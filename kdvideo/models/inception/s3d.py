"""S3D in torchvision's form: Inception-v1 with separable convolutions, batch norm after both halves, no gates."""

from collections import OrderedDict
from functools import partial
from typing import Any

from torch import nn

from kdvideo.models.inception.backbone import Inception3D, inception_layers, scaled_depth
from kdvideo.models.inception.head import basic_head
from kdvideo.models.inception.layers import MaxPool3d, conv_bn_relu, half_padding
from kdvideo.models.network import InputSpec, Triple

_unit = partial(conv_bn_relu, scale=True, pad=half_padding)
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


def s3d(
    num_classes: int = 400,
    *,
    in_channels: int = 3,
    depth_multiplier: float = 1.0,
    min_depth: int = 16,
    dropout: float = 0.2,
    input_range: tuple[float, float] = (0.0, 1.0),
    mean: tuple[float, ...] = MEAN,
    std: tuple[float, ...] = STD,
) -> Inception3D:
    """Build S3D in torchvision's form: (B, C, T, H, W) -> (B, K) logits.

    Against `s3dg`: the stem is separable, every temporal convolution is followed by batch norm, batch norm has a
    gamma, there are no gates, and the padding is symmetric.

    Args:
        num_classes: K.
        in_channels: 3 for RGB, 2 for optical flow.
        depth_multiplier: scales every width, > 0.
        min_depth: the least width after scaling; 16 in TF-slim.
        dropout: probability in front of the classifier; 0.2 in the published network.
        input_range: the lowest and highest value that the weights are meant to see; recorded in `input_spec`.
        mean: of each channel, recorded likewise; torchvision's for RGB, none for other inputs.
        std: of each channel, recorded likewise; torchvision's for RGB, none for other inputs.

    Returns:
        The network; `layer_names` maps the paper's layer names to module paths.

    Raises:
        ValueError: for an option out of range; at forward, for an input of another rank, type, channel count, or
            smaller than 8 x 32 x 32.

    Examples:
        >>> import torch
        >>> model = s3d(5, depth_multiplier=0.125, min_depth=8)
        >>> model(torch.zeros(2, 3, 8, 32, 32)).shape, model.layer_names["4C"]
        (torch.Size([2, 5]), 'mixed_4c')

    Source:
        Xie, Sun, Huang, Tu, Murphy: Rethinking Spatiotemporal Feature Learning, ECCV 2018, arXiv 1712.04851, as
        torchvision publishes it: equal outputs with the same weights wherever its fixed pool of (2, 7, 7) fits.
    """
    if in_channels != 3 and (mean, std) == (MEAN, STD):
        mean = std = ()
    config: dict[str, Any] = {"architecture": "s3d", **locals()}

    def conv(layer: str, c_in: int, c_out: int, kernel: int) -> nn.Module:
        return _unit(c_in, c_out, (1, 1, 1)) if kernel == 1 else _separable(c_in, c_out, kernel)

    layers, widths = inception_layers(
        in_channels,
        depth=partial(scaled_depth, multiplier=depth_multiplier, minimum=min_depth),
        stem=partial(_separable, kernel=7, stride=2),
        conv=conv,
        pool=_pool,
    )
    head = basic_head(widths["5C"], num_classes, dropout=dropout)
    spec = InputSpec(128, 224, value_range=input_range, mean=mean, std=std, fps=15.0)
    return Inception3D({**layers, "head": head}, builder=s3d, config=config, input_spec=spec)


def _separable(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    spatial = _unit(in_channels, out_channels, (1, kernel, kernel), stride=(1, stride, stride))
    temporal = _unit(out_channels, out_channels, (kernel, 1, 1), stride=(stride, 1, 1))
    return nn.Sequential(OrderedDict({"spatial": spatial, "temporal": temporal}))


def _pool(kernel: Triple, stride: Triple) -> nn.Module:
    """Build a max pool padded by half the kernel, as torchvision does; even kernels have no padding."""
    t, h, w = (k // 2 if k % 2 else 0 for k in kernel)
    return MaxPool3d(kernel, stride, (t, h, w))
