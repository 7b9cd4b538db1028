"""Networks from their recorded configuration."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from kdvideo._numbers import check_count
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
LARGEST, LONGEST, DEEPEST = 100_000, 10_000, 8  # number, text or list, and nesting of a configuration
# What builders of other libraries raise, asserts among them, for arguments that do not fit.
MISFITS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError)
DOWNLOADS = ("cache_dir", "checkpoint_path", "pretrained", "progress", "weights")


def build(config: Mapping[str, Any]) -> Network:
    """Build the network that a `config` describes, with fresh weights; the caller's random numbers are not touched.

    Raises:
        ValueError: the architecture is unknown, its arguments do not fit it, they would read other files, or they hold
            a number beyond 100,000, or no class or no channel.

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
    _check_sizes({**config, "num_classes": 0})  # which the weights have to match
    for key in ("num_classes", "in_channels"):
        if key in config:
            check_count(**{key: config[key]})
    try:
        return call_builder(BUILDERS[name], config)
    except MISFITS as error:
        raise ValueError(f"the configuration does not fit {name}: {type(error).__name__}: {error}") from error


def _check_sizes(value: Any, depth: int = 0) -> None:
    """Raise `ValueError` for a configuration that no network has: building it could take all memory, or years."""
    if depth > DEEPEST:
        raise ValueError(f"the configuration must be nested at most {DEEPEST} deep")
    if isinstance(value, (int, float)):
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise ValueError(f"numbers of the configuration must be at most {LARGEST:,}, got {value:.4g}")
    elif isinstance(value, (str, list, tuple, Mapping)):
        if len(value) > LONGEST:
            raise ValueError(f"a part of the configuration must have at most {LONGEST:,} items, got {len(value):,}")
        if not isinstance(value, str):
            for part in [*value, *value.values()] if isinstance(value, Mapping) else value:
                _check_sizes(part, depth + 1)
