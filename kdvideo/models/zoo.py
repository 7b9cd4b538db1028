"""pytorchvideo's own backbones behind one call: one clip in, logits out."""

import difflib
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .head import ShrinkingAvgPool3d
from .network import InputSpec, Network, Triple, check_clip


@dataclass(frozen=True)
class Backbone:
    """The clip that a published network was trained on, and what its builder calls the two sizes we set."""

    frames: int
    step: int  # frames of the video per frame of the clip
    size: int
    classes: str = "model_num_class"
    channels: str = "input_channel"

    @property
    def input_spec(self) -> InputSpec:
        """As pytorchvideo's published weights were fed."""
        return InputSpec(self.frames, self.size, self.step, (0.0, 1.0), (0.45,) * 3, (0.225,) * 3, 30.0)


BACKBONES = {
    "c2d_r50": Backbone(8, 8, 224),
    "csn_r101": Backbone(32, 2, 224),
    "i3d_r50": Backbone(8, 8, 224),
    "mvit_base_16x4": Backbone(16, 4, 224, "head_num_classes", "input_channels"),
    "mvit_base_32x3": Backbone(32, 3, 224, "head_num_classes", "input_channels"),
    "r2plus1d_r50": Backbone(16, 4, 224),
    "slow_r50": Backbone(8, 8, 224),
    "slowfast_r50": Backbone(32, 2, 224, channels="input_channels"),
    "slowfast_r101": Backbone(32, 2, 224, channels="input_channels"),
    "x3d_xs": Backbone(4, 12, 160),
    "x3d_s": Backbone(13, 6, 160),
    "x3d_m": Backbone(16, 5, 224),
    "x3d_l": Backbone(16, 5, 312),
}
PATHWAY_RATIO = 4  # SlowFast: fast frames per slow frame


class PooledConcat(nn.Module):
    """Pools every pathway and concatenates the channels, and, unlike pytorchvideo's, leaves its input list alone."""

    def __init__(self, pools: nn.ModuleList) -> None:
        super().__init__()
        self.pool = pools

    def forward(self, pathways: list[Tensor]) -> Tensor:
        return torch.cat([pool(x) for pool, x in zip(self.pool, pathways, strict=True)], dim=1)


class PyTorchVideo(Network):
    """A pytorchvideo network under ``network``, called on one (B, C, T, H, W) tensor and giving (B, K) logits."""

    def __init__(self, network: nn.Module, spec: Backbone, *, config: dict[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.input_spec = spec.input_spec
        self.layer_names = _layer_names(network)
        self.minimum: Triple = (4, 32, 32)
        self.fixed = _fixed_size(network)
        self.two_pathways = any(isinstance(m, PooledConcat) for m in network.modules())

    def forward(self, input: Tensor) -> Tensor:
        check_clip(input, channels=self.in_channels, minimum=self.fixed or self.minimum)
        if self.fixed and tuple(input.shape[2:]) != self.fixed:
            raise ValueError(f"got (T, H, W) = {tuple(input.shape[2:])}; this network takes {self.fixed} only")
        logits: Tensor = self.network(pathways(input) if self.two_pathways else input)
        return logits


def pathways(clip: Tensor) -> list[Tensor]:
    """SlowFast's two inputs: every fourth frame, spread from the first to the last, and all frames.

    Examples:
        >>> [tuple(x.shape) for x in pathways(torch.zeros(1, 3, 32, 8, 8))]
        [(1, 3, 8, 8, 8), (1, 3, 32, 8, 8)]
    """
    frames = clip.shape[2]
    count = frames // PATHWAY_RATIO
    if frames % PATHWAY_RATIO or count < 2:
        raise ValueError(f"got {frames} frames; SlowFast takes a multiple of {PATHWAY_RATIO}, at least 8")
    slow = torch.stack([clip[:, :, i * (frames - 1) // (count - 1)] for i in range(count)], dim=2)
    return [slow, clip]


def pytorchvideo(name: str, *, num_classes: int = 400, in_channels: int = 3, **options: Any) -> PyTorchVideo:
    """One of pytorchvideo's backbones, without published weights, giving logits.

    What is put right: X3D and R(2+1)D end in a softmax; head pools of fixed size refuse smaller clips (they shrink
    here; where the original runs, the result is the same); SlowFast wants a list of two clips and overwrites it.

    Args:
        name: a key of ``BACKBONES``, which also tells frames, frame step and size of the published training.
        num_classes: K.
        in_channels: 3 for RGB, 2 for optical flow.
        options: further keyword arguments of pytorchvideo's builder, e.g. ``model_depth=101``.

    Raises:
        ValueError: an unknown name; at forward, a clip of another rank, type, channel count or size.

    Examples:
        >>> with torch.device("meta"):
        ...     model = pytorchvideo("x3d_s", num_classes=5)
        ...     model(torch.empty(2, 3, 13, 160, 160)).shape
        torch.Size([2, 5])

    Fan et al.: PyTorchVideo, ACM Multimedia 2021, arXiv 2111.09887. Its ``i3d_r50`` is a ResNet: for Inception I3D
    see `i3d`. Published weights load into ``model.network``.
    """
    if name not in BACKBONES:
        close = difflib.get_close_matches(name, BACKBONES, n=3, cutoff=0.3)
        raise ValueError(f"unknown backbone {name!r}; closest: {close}, all: {sorted(BACKBONES)}")
    from pytorchvideo.models import hub  # brings torchvision: seconds, so not at import

    spec = BACKBONES[name]
    slowfast = name.startswith("slowfast")
    sizes = {spec.classes: num_classes, spec.channels: (in_channels, in_channels) if slowfast else in_channels}
    network: nn.Module = getattr(hub, name)(pretrained=False, **sizes, **options)
    _emit_logits(network)
    _shrink_head_pools(network, whole_clip=slowfast)
    if slowfast:
        _keep_lists(network)
    config = {"architecture": "pytorchvideo", "name": name, "num_classes": num_classes, "in_channels": in_channels}
    return PyTorchVideo(network, spec, config={**config, **options})


def _blocks(network: nn.Module) -> nn.ModuleList:
    blocks = network.get_submodule("blocks")
    assert isinstance(blocks, nn.ModuleList)
    return blocks


def _emit_logits(network: nn.Module) -> None:
    # setattr: the type checker takes every attribute of a module for a tensor or a module
    head = network.get_submodule("head") if hasattr(network, "head") else _blocks(network)[-1]
    setattr(head, "activation", None)  # noqa: B010


def _shrink_head_pools(network: nn.Module, *, whole_clip: bool) -> None:
    """Let head pools shrink to small features; ``whole_clip``: pool all steps, so that both pathways end with one."""
    for parent in list(_blocks(network)[-2:].modules()):
        for name, pool in parent.named_children():
            if isinstance(pool, nn.AvgPool3d):
                kernel = pool.kernel_size
                assert isinstance(kernel, tuple)
                t, h, w = kernel
                setattr(parent, name, ShrinkingAvgPool3d((sys.maxsize if whole_clip else t, h, w)))


def _keep_lists(network: nn.Module) -> None:
    """Stop SlowFast's blocks from overwriting the list that the block before gave out."""
    blocks = _blocks(network)
    for block in blocks[:-2]:
        setattr(block, "inplace", False)  # noqa: B010
    pools = blocks[-2].get_submodule("pool")
    assert isinstance(pools, nn.ModuleList)
    blocks[-2] = PooledConcat(pools)


def _layer_names(network: nn.Module) -> dict[str, str]:
    """stem, res2 ... res5, head for the networks made of such stages; MViT's blocks are found by path."""
    if hasattr(network, "patch_embed"):
        return {}
    stages = [i for i, block in enumerate(_blocks(network)) if _has_residual_stage(block)]
    names = {f"res{i + 2}": f"network.blocks.{block}" for i, block in enumerate(stages)}
    return {"stem": "network.blocks.0", **names, "head": f"network.blocks.{len(_blocks(network)) - 1}"}


def _has_residual_stage(block: nn.Module) -> bool:
    return any(type(m).__name__ == "ResStage" for m in block.modules())


def _fixed_size(network: nn.Module) -> Triple | None:
    """The one (T, H, W) that MViT's position embedding allows; None where any size will do."""
    encoding, patch = getattr(network, "cls_positional_encoding", None), getattr(network, "patch_embed", None)
    if encoding is None or patch is None:
        return None
    steps, strides = encoding.patch_embed_shape, patch.patch_model.stride
    t, h, w = (n * s for n, s in zip(steps, strides, strict=True))
    return t, h, w
