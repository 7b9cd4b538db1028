"""Image networks of timm on video: every frame by itself, the logits averaged."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from kdvideo._extras import needed
from kdvideo.models.adapters.adapter import Adapter, Fixed, unknown
from kdvideo.models.network import InputSpec

DOWNLOADS = ("pretrained", "checkpoint_path", "cache_dir")


class FrameAverage(Adapter):
    """An image network on the T frames of a clip: y = 1/T sum_t f(x_t), (B, C, T, H, W) -> (B, K) logits.

    Inside, a batch holds B T images, clip by clip: that is the first axis of what its layers give.
    """

    def forward(self, clip: Tensor) -> Tensor:
        """Return the (B, K) logits of a (B, C, T, H, W) clip."""
        self.check(clip)
        logits: Tensor = self.network(self.feed(clip))
        return logits.view(clip.shape[0], clip.shape[2], -1).mean(1)


def timm(name: str, *, num_classes: int = 400, in_channels: int = 3, **options: Any) -> FrameAverage:
    """Build one of timm's image networks, called on every frame; the clip's logits are the mean over its frames.

    y = 1/T sum_t f(x_t): the segment consensus of temporal segment networks, with f blind to the order of the frames.

    Args:
        name: one of timm's names, e.g. "resnet50" or "vit_small_patch16_224.augreg_in21k".
        num_classes: K.
        in_channels: 3 for RGB, 2 for optical flow.
        options: further keyword arguments of `timm.create_model`, e.g. `drop_path_rate=0.1` or, for networks with
            position embeddings, `img_size=112`. `pretrained=True` downloads published weights and is not recorded
            in `config`.

    Returns:
        The network; published weights load into its `network`. `input_spec` is of one frame, as they were fed.

    Raises:
        ValueError: an unknown name; at forward, a clip of another rank, type, channel count or size.

    Examples:
        >>> import torch
        >>> with torch.device("meta"):
        ...     model = timm("resnet18", num_classes=5)
        ...     model(torch.empty(2, 3, 8, 64, 64)).shape
        torch.Size([2, 5])

    Source:
        Wightman: PyTorch Image Models, 2019, doi 10.5281/zenodo.4414861. Wang et al.: Temporal Segment Networks,
        ECCV 2016, arXiv 1608.00859.
    """
    with needed("kdvideo.models.timm"):
        import timm as library  # takes seconds, so not at import

    check_name(name)
    network: nn.Module = library.create_model(name, num_classes=num_classes, in_chans=in_channels, **options)
    published = dict(network.pretrained_cfg)  # type: ignore[arg-type]
    config = {"architecture": "timm", "name": name, "num_classes": num_classes, "in_channels": in_channels}
    _, height, width = published.get("min_input_size") or (3, 32, 32)
    return FrameAverage(
        network,
        feed=_images,
        builder=timm,
        config={**config, **{key: value for key, value in options.items() if key not in DOWNLOADS}},
        input_spec=_input_spec(published),
        layer_names=_layer_names(network, published),
        minimum=(1, height, width),
        fixed=_fixed_size(network),
    )


def check_name(name: str) -> None:
    """Raise `ValueError` for a name, with its tag, that timm does not have."""
    import timm as library

    try:
        known = library.is_model(name) and library.get_pretrained_cfg(name) is not False
    except RuntimeError:  # an unknown tag
        known = False
    if not known:
        raise unknown(name, [*library.list_models(), *library.list_pretrained()], see="timm.list_models()")


def _images(clip: Tensor) -> Tensor:
    return clip.transpose(1, 2).flatten(0, 1)


def _input_spec(published: Mapping[str, Any]) -> InputSpec:
    mean, std = tuple(published["mean"]), tuple(published["std"])
    return InputSpec(frames=1, size=published["input_size"][-1], value_range=(0.0, 1.0), mean=mean, std=std)


def _layer_names(network: nn.Module, published: Mapping[str, Any]) -> dict[str, str]:
    """Return timm's own names of the stem, of the layers that it offers as features, and of the classifier."""
    features = [info["module"] for info in getattr(network, "feature_info", [])]
    ends = {name: published.get(key) for name, key in (("stem", "first_conv"), ("head", "classifier"))}
    named = {"stem": ends["stem"], **{path: path for path in features}, "head": ends["head"]}
    modules = dict(network.named_modules())
    return {name: path for name, path in named.items() if isinstance(path, str) and path in modules}


def _fixed_size(network: nn.Module) -> Fixed | None:
    patches = getattr(network, "patch_embed", None)
    if patches is None or not getattr(patches, "strict_img_size", False):
        return None
    height, width = patches.img_size
    return None, height, width
