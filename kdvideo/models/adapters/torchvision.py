"""Video networks of torchvision, called on one clip and giving logits."""

from functools import partial
from typing import Any

from torch import nn

from kdvideo._extras import needed
from kdvideo.models.adapters.adapter import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ClipAdapter,
    Fixed,
    scale_ends,
    unknown,
)
from kdvideo.models.inception.backbone import ORDER
from kdvideo.models.inception.head import ShrinkingAvgPool3d
from kdvideo.models.network import InputSpec, Triple
from kdvideo.models.stem import replace_stem

# As the transforms and the notes of torchvision's published Kinetics-400 weights have it.
_spec = partial(
    InputSpec, value_range=(0.0, 1.0), fps=15.0, mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989)
)
_mvit = partial(_spec, frames=16, size=224, fps=7.5, mean=(0.45,) * 3, std=(0.225,) * 3)
_swin = partial(_spec, frames=32, size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD)
INPUT_SPECS: dict[str, InputSpec] = {
    "mc3_18": _spec(frames=16, size=112),
    "mvit_v1_b": _mvit(),
    "mvit_v2_s": _mvit(),
    "r2plus1d_18": _spec(frames=16, size=112),
    "r3d_18": _spec(frames=16, size=112),
    "s3d": _spec(frames=128, size=224),
    "swin3d_b": _swin(),
    "swin3d_s": _swin(),
    "swin3d_t": _swin(),
}
MINIMUM: dict[str, Triple] = {"s3d": (8, 32, 32)}


def torchvision(name: str, *, num_classes: int = 400, in_channels: int = 3, **options: Any) -> ClipAdapter:
    """Build one of torchvision's video networks: (B, C, T, H, W) -> (B, K) logits.

    S3D's head pool shrinks to smaller clips; where the original runs, the result is the same. MViT takes its
    published size only, and its layers give (tokens, (T, H, W)); Swin's layers are channels-last.

    Args:
        name: "r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s" or "swin3d_b".
        num_classes: K.
        in_channels: 3 for RGB, 2 for optical flow.
        options: further keyword arguments of torchvision's builder. `weights="DEFAULT"` downloads published weights
            and is not recorded in `config`.

    Returns:
        The network; published weights load into its `network`.

    Raises:
        ValueError: an unknown name; at forward, a clip of another rank, type, channel count or size.

    Examples:
        >>> import torch
        >>> with torch.device("meta"):
        ...     model = torchvision("r3d_18", num_classes=5, in_channels=2)
        ...     model(torch.empty(2, 2, 8, 64, 64)).shape
        torch.Size([2, 5])

    Source:
        Tran et al., CVPR 2018, arXiv 1711.11248 (R3D, MC3, R(2+1)D); Xie et al., ECCV 2018, arXiv 1712.04851 (S3D);
        Fan et al., ICCV 2021, arXiv 2104.11227, and Li et al., CVPR 2022, arXiv 2112.01526 (MViT); Liu et al.,
        CVPR 2022, arXiv 2106.13230 (Swin).
    """
    if name not in INPUT_SPECS:
        raise unknown(name, INPUT_SPECS, see="torchvision.models.video")
    with needed("kdvideo.models.torchvision"):
        from torchvision.models import video  # takes seconds, so not at import

    network: nn.Module = getattr(video, name)(num_classes=num_classes, **options)
    replace_stem(network, in_channels)
    if name == "s3d":
        network.avgpool = ShrinkingAvgPool3d((2, 7, 7))
    config = {"architecture": "torchvision", "name": name, "num_classes": num_classes, "in_channels": in_channels}
    offline = {key: value for key, value in options.items() if key not in ("weights", "progress")}
    return ClipAdapter(
        network,
        builder=torchvision,
        config={**config, **offline},
        input_spec=INPUT_SPECS[name],
        layer_names=_layer_names(network),
        minimum=MINIMUM.get(name, (1, 1, 1)),
        fixed=_fixed_size(network),
    )


def _layer_names(network: nn.Module) -> dict[str, str]:
    if isinstance(blocks := getattr(network, "blocks", None), nn.ModuleList):
        return {"stem": "conv_proj", **scale_ends(blocks), "norm": "norm", "head": "head"}
    if hasattr(network, "classifier"):
        return {**{layer: f"features.{i}" for i, layer in enumerate(ORDER)}, "head": "classifier"}
    if hasattr(network, "patch_embed"):
        stages = {f"stage{i + 1}": f"features.{2 * i}" for i in range(4)}
        return {"stem": "patch_embed", **stages, "norm": "norm", "head": "head"}
    return {"stem": "stem", **{f"layer{i}": f"layer{i}" for i in range(1, 5)}, "head": "fc"}


def _fixed_size(network: nn.Module) -> Fixed | None:
    """Return the one (T, H, W) that MViT's position embedding allows; None where any size will do."""
    encoding, stem = getattr(network, "pos_encoding", None), getattr(network, "conv_proj", None)
    if encoding is None or stem is None:
        return None
    steps = (encoding.temporal_size, *encoding.spatial_size)
    t, h, w = (n * s for n, s in zip(steps, stem.stride, strict=True))
    return t, h, w
