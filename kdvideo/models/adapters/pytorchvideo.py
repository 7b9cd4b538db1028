"""Backbones of pytorchvideo's hub, called on one clip and giving logits."""

import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from kdvideo.models.adapters.adapter import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Adapter,
    ClipAdapter,
    Fixed,
    itself,
    scale_ends,
    unknown,
)
from kdvideo.models.adapters.surgery import emit_logits, keep_lists, pathways, shrink_head_pools
from kdvideo.models.network import InputSpec, Triple
from kdvideo.models.stem import replace_stem


@dataclass(frozen=True)
class Backbone:
    """The clips that a published network was trained on, and its builder's names of class and channel count."""

    frames: int
    step: int  # frames of the video per frame of the clip
    size: int
    num_classes: int = 400  # Kinetics; 80 for AVA, 1000 for ImageNet
    classes: str = "model_num_class"
    channels: str = "input_channel"  # "" where the builder knows RGB only
    minimum: Triple = (4, 32, 32)

    @property
    def input_spec(self) -> InputSpec:
        """The clip that pytorchvideo's published weights were fed."""
        spec = partial(InputSpec, frames=self.frames, size=self.size, step=self.step, value_range=(0.0, 1.0))
        if self.frames == 1:
            return spec(mean=IMAGENET_MEAN, std=IMAGENET_STD)
        return spec(mean=(0.45,) * 3, std=(0.225,) * 3, fps=30.0)


_mvit = partial(Backbone, size=224, classes="head_num_classes", channels="input_channels")
_slowfast = partial(Backbone, size=224, channels="input_channels", minimum=(8, 32, 32))
_efficient = partial(Backbone, size=160, classes="num_classes", channels="")
BACKBONES = {
    "c2d_r50": Backbone(8, 8, 224),
    "csn_r101": Backbone(32, 2, 224),
    "efficient_x3d_s": _efficient(13, 6),
    "efficient_x3d_xs": _efficient(4, 12),
    "i3d_r50": Backbone(8, 8, 224),
    "mvit_base_16": _mvit(1, 1, num_classes=1000),
    "mvit_base_16x4": _mvit(16, 4),
    "mvit_base_32x3": _mvit(32, 3),
    "r2plus1d_r50": Backbone(16, 4, 224),
    "slow_r50": Backbone(8, 8, 224),
    "slow_r50_detection": Backbone(4, 16, 224, num_classes=80),
    "slowfast_16x8_r101_50_50": _slowfast(64, 2),
    "slowfast_r50": _slowfast(32, 2),
    "slowfast_r50_detection": _slowfast(32, 2, num_classes=80),
    "slowfast_r101": _slowfast(32, 2),
    "x3d_xs": Backbone(4, 12, 160),
    "x3d_s": Backbone(13, 6, 160),
    "x3d_m": Backbone(16, 5, 224),
    "x3d_l": Backbone(16, 5, 312),
}


class BoxAdapter(Adapter):
    """Called on clips (B, C, T, H, W) and N boxes; it gives one row of logits for every box, (N, K)."""

    def forward(self, clips: Tensor, boxes: Tensor) -> Tensor:
        """Return the (N, K) logits of boxes (N, 5): the clip's index in the batch, x1, y1, x2, y2 in pixels."""
        self.check(clips)
        if boxes.ndim != 2 or boxes.shape[1] != 5 or boxes.dtype != clips.dtype:
            raise ValueError(
                f"boxes must be (N, 5) in the clips' {clips.dtype}, each the clip's index in the batch, x1, y1, x2, y2 "
                f"in pixels, got {boxes.dtype} {tuple(boxes.shape)}"
            )
        logits: Tensor = self.network(self.feed(clips), boxes)
        return logits


def pytorchvideo(
    name: str, *, num_classes: int = 400, in_channels: int = 3, **options: Any
) -> ClipAdapter | BoxAdapter:
    """Build one of pytorchvideo's 19 backbones, giving logits.

    What differs from the original: X3D and R(2+1)D lose their softmax, detectors their sigmoid; head pools of fixed
    size shrink to smaller clips (where the original runs, the result is the same); SlowFast takes one clip and leaves
    it alone; efficient X3D takes other channels than RGB. "mvit_base_16" is an image network: its clips have T = 1.

    The two "*_detection" networks take boxes, too: `model(clips, boxes)`, where `boxes` (N, 5) holds the clip's
    index in the batch and x1, y1, x2, y2 in pixels, gives one row of logits for each box, (N, K).

    Args:
        name: a key of `BACKBONES`, which also has frames, frame step, size and class count of the published
            training.
        num_classes: K.
        in_channels: 3 for RGB, 2 for optical flow.
        options: further keyword arguments of pytorchvideo's builder, e.g. `dropout_rate=0.2`, and for some, such as
            "c2d_r50", `model_depth=101`; what the hub's function fixes is an error. `pretrained=True` downloads
            published weights (K must be the published one) and is not recorded in `config`.

    Returns:
        The network; published weights load into its `network`.

    Raises:
        ValueError: an unknown name, or an option that the network does not take; at forward, a clip of another rank,
            type, channel count or size, or boxes of another shape or type.

    Examples:
        >>> import torch
        >>> with torch.device("meta"):
        ...     model = pytorchvideo("x3d_s", num_classes=5)
        ...     model(torch.empty(2, 3, 13, 160, 160)).shape
        torch.Size([2, 5])

    Its "i3d_r50" is a ResNet: for Inception I3D see `i3d`.

    Source:
        Fan et al.: PyTorchVideo: A Deep Learning Library for Video Understanding, ACM Multimedia 2021,
        arXiv 2111.09887.
    """
    if name not in BACKBONES:
        raise unknown(name, BACKBONES, see="models.BACKBONES")
    spec = BACKBONES[name]
    network = _original(name, spec, num_classes, in_channels, options)
    replace_stem(network, in_channels)
    slowfast, boxes = name.startswith("slowfast"), hasattr(network, "detection_head")
    emit_logits(network)
    shrink_head_pools(network, whole_clip=slowfast or boxes)
    if slowfast:
        keep_lists(network)
    config = {"architecture": "pytorchvideo", "name": name, "num_classes": num_classes, "in_channels": in_channels}
    offline = {key: value for key, value in options.items() if key not in ("pretrained", "progress")}
    fixed = _fixed_size(network)
    return (BoxAdapter if boxes else ClipAdapter)(
        network,
        feed=pathways if slowfast else _image if fixed and fixed[0] == 1 else itself,
        builder=pytorchvideo,
        config={**config, **offline},
        input_spec=spec.input_spec,
        layer_names=_layer_names(network),
        minimum=spec.minimum,
        fixed=fixed,
    )


def _original(name: str, spec: Backbone, num_classes: int, in_channels: int, options: dict[str, Any]) -> nn.Module:
    from pytorchvideo.models import hub  # takes seconds, so not at import

    channels = (in_channels, in_channels) if name.startswith("slowfast") else in_channels
    sizes = {spec.classes: num_classes, **({spec.channels: channels} if spec.channels else {})}
    if options.get("pretrained") and (num_classes, in_channels) == (spec.num_classes, 3):
        sizes = {}  # MViT's builder takes no arguments beside pretrained=True
    if own := sorted({*sizes, "model_builder", "checkpoint_path", "default_config"} & set(options)):
        raise ValueError(f"options must leave {own} to num_classes, in_channels and the hub: {name!r} sets them")
    try:
        network: nn.Module = getattr(hub, name)(**sizes, **options)
    except (AssertionError, NotImplementedError, TypeError) as error:
        raise _misfit(name, options, error) from error
    return network


def _misfit(name: str, options: dict[str, Any], error: Exception) -> ValueError:
    """Return the error for an option that the hub's function, or the builder that it calls, does not take."""
    named = re.search(r"(multiple values|unexpected)[\w ]* keyword argument '(\w+)'", str(error))
    if named is None or named[2] not in options:
        return ValueError(f"the options {options} do not fit {name!r}: {error}")
    if named[1] == "multiple values":
        advice = "choose another key of models.BACKBONES, or build it with pytorchvideo.models"
        return ValueError(f"{named[2]} must be left out, got {options[named[2]]!r}: {name!r} fixes it; {advice}")
    return ValueError(
        f"{named[2]} must be an argument of pytorchvideo's builder of {name!r}, which has none: leave it out"
    )


def _image(clip: Tensor) -> Tensor:
    return clip.squeeze(2)


def _layer_names(network: nn.Module) -> dict[str, str]:
    """Name stem, res2 ... res5 and head; of MViT stem, scale2 ... scale5 (giving (tokens, (T, H, W))), norm, head."""
    if hasattr(network, "patch_embed"):
        return {"stem": "patch_embed", **scale_ends(_blocks(network)), "norm": "norm_embed", "head": "head"}
    if hasattr(network, "s1"):
        return {"stem": "s1", **{f"res{i}": f"s{i}" for i in range(2, 6)}, "head": "projection"}
    inner = "model.blocks" if hasattr(network, "detection_head") else "blocks"
    blocks = list(network.get_submodule(inner).children())
    stages = [i for i, block in enumerate(blocks) if any(type(m).__name__ == "ResStage" for m in block.modules())]
    head = "detection_head" if inner == "model.blocks" else f"blocks.{len(blocks) - 1}"
    return {"stem": f"{inner}.0", **{f"res{i + 2}": f"{inner}.{n}" for i, n in enumerate(stages)}, "head": head}


def _blocks(network: nn.Module) -> nn.ModuleList:
    blocks = network.get_submodule("blocks")
    assert isinstance(blocks, nn.ModuleList)
    return blocks


def _fixed_size(network: nn.Module) -> Fixed | None:
    """Return the one (T, H, W) that MViT's position embedding allows; None where any size will do."""
    encoding, patch = getattr(network, "cls_positional_encoding", None), getattr(network, "patch_embed", None)
    if encoding is None or patch is None:
        return None
    stride = patch.patch_model.stride
    t, h, w = (n * s for n, s in zip(encoding.patch_embed_shape, (1,) * (3 - len(stride)) + stride, strict=True))
    return t, h, w
