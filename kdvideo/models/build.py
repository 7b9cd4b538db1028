"""Networks from their recorded configuration."""

from collections.abc import Callable, Mapping
from typing import Any

from kdvideo.models.adapters.pytorchvideo import pytorchvideo
from kdvideo.models.adapters.timm import timm
from kdvideo.models.adapters.torchvision import torchvision
from kdvideo.models.inception.i3d import i3d
from kdvideo.models.inception.s3d import s3d
from kdvideo.models.inception.s3dg import s3dg
from kdvideo.models.inflation import inflated
from kdvideo.models.network import Network, call_builder
from kdvideo.models.streaming import causal_of

BUILDERS: dict[str, Callable[..., Network]] = {
    "causal": causal_of,
    "i3d": i3d,
    "inflated": inflated,
    "pytorchvideo": pytorchvideo,
    "s3d": s3d,
    "s3dg": s3dg,
    "timm": timm,
    "torchvision": torchvision,
}
DOWNLOADS = ("cache_dir", "checkpoint_path", "pretrained", "progress", "weights")


def build(config: Mapping[str, Any]) -> Network:
    """Build the network that a `config` describes, with fresh weights; the caller's random numbers are not touched.

    Raises:
        ValueError: the architecture is unknown, its arguments do not fit it, or they would read other files.

    Examples:
        >>> model = s3dg(5, depth_multiplier=0.125, min_depth=8)
        >>> build(model.config).config == model.config
        True
    """
    name = config.get("architecture")
    if not isinstance(name, str) or name not in BUILDERS:
        raise ValueError(
            f"architecture must be one of {sorted(BUILDERS)}, got {name!r}: a network of your own is filled with "
            "checkpoints.load(path, model=...)"
        )
    # A file from a stranger must not make other files be read or downloaded.
    refused = sorted(key for key in config if key in DOWNLOADS or key.startswith("pretrained_cfg"))
    if refused:
        raise ValueError(f"the configuration asks for {refused}: only its own file may give a network its weights")
    return call_builder(BUILDERS[name], config)
