"""The format of pytorchvideo's published weights."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kdvideo.models.checkpoints.weight_format import WeightFormat
from kdvideo.models.network import Network

PYTORCHVIDEO = WeightFormat("pytorchvideo", r"blocks\.0\.", lambda key: key.removeprefix("network."))


def from_pytorchvideo(weights: Mapping[str, Any], model: Network) -> dict[str, Tensor]:
    """Convert pytorchvideo's weights of the same network to those of `model`; neither argument is changed.

    Args:
        weights: pytorchvideo's state dict, the "model_state" of its files ("blocks.0..."), with or without a
            "module." in front.
        model: `models.pytorchvideo(name)` of the same network.

    Returns:
        The state dict of `model` with these weights, in its dtypes.

    Raises:
        ValueError: weights are missing, unexpected or of another shape; all of them are listed.

    Examples:
        >>> import torch
        >>> from kdvideo import models
        >>> from pytorchvideo.models.hub import x3d_xs
        >>> with torch.device("meta"):
        ...     weights, model = x3d_xs().state_dict(), models.pytorchvideo("x3d_xs")
        >>> from_pytorchvideo(weights, model).keys() == model.state_dict().keys()
        True
    """
    return PYTORCHVIDEO.convert({name.removeprefix("module."): value for name, value in weights.items()}, model)
