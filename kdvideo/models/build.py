"""Networks from their recorded configuration."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from kdvideo.models.adapters.pytorchvideo import pytorchvideo
from kdvideo.models.adapters.timm import timm
from kdvideo.models.adapters.torchvision import torchvision
from kdvideo.models.inception.i3d import i3d
from kdvideo.models.inception.s3d import s3d
from kdvideo.models.inception.s3dg import s3dg
from kdvideo.models.inflation import inflated
from kdvideo.models.network import Network

BUILDERS: dict[str, Callable[..., Network]] = {
    "i3d": i3d,
    "inflated": inflated,
    "pytorchvideo": pytorchvideo,
    "s3d": s3d,
    "s3dg": s3dg,
    "timm": timm,
    "torchvision": torchvision,
}


RECIPE = ("flow_predictor", "predicted_flow")  # of the method "S3D-G with 3D CNN flow": a part, and the whole
DOWNLOADS = ("cache_dir", "checkpoint_path", "pretrained", "progress", "weights")


def build(config: Mapping[str, Any]) -> Network:
    """The network that a ``config`` describes, with fresh weights; the caller's random numbers are not touched.

    Raises:
        ValueError: the architecture is unknown, its arguments do not fit it, or they would read other files.

    Examples:
        >>> model = s3dg(5, depth_multiplier=0.125, min_depth=8)
        >>> build(model.config).config == model.config
        True
    """
    arguments = dict(config)
    name = arguments.pop("architecture", None)
    if name in RECIPE:
        raise ValueError(
            f"{name!r} is a network of the recipe, which kdvideo does not build: examples.d3d.networks.load reads its "
            "file, and python -m examples.d3d.evaluate measures that of a whole network"
        )
    if not isinstance(name, str) or name not in BUILDERS:
        raise ValueError(f"unknown architecture {name!r}; known: {sorted(BUILDERS)}")
    refused = sorted(key for key in arguments if key in DOWNLOADS or key.startswith("pretrained_cfg"))
    if refused:
        raise ValueError(f"the configuration asks for {refused}: only its own file may give a network its weights")
    with torch.random.fork_rng(devices=[]):
        try:
            return BUILDERS[name](**arguments)
        except TypeError as error:
            raise ValueError(f"the arguments {arguments} do not fit {name}: {error}") from error
