"""Where the features of a network are read: by the paper's names of layers, or "pooled"."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

import kdvideo as kd
from kdvideo import models


def tap(network: models.Network, layer: str) -> dict[str, Any]:
    """Return what `kd.Teacher` and `kd.Student` need to give a layer's features, with the layer's name as the role."""
    if layer == "logits":
        return {}
    if layer != "pooled":
        return {"layers": {layer: layer}}
    if isinstance(network, models.inflation.Inflated):
        return {"layers": {"network.global_pool": layer}}
    pool = "head.pool.0" if isinstance(network.get_submodule("head.pool"), nn.Sequential) else "head.pool"
    return {"layers": {pool: layer}, "select": {layer: _over_positions}}


def _over_positions(pooled: Tensor) -> Tensor:
    return pooled.mean((2, 3, 4))


class Detach(nn.Module):
    """Identity without a gradient: what comes after learns from its loss, what comes before does not."""

    def forward(self, feature: Tensor) -> Tensor:
        """Return the feature without its history."""
        return feature.detach()


def detach_classifier(network: models.Network) -> None:
    """Keep the classifier's gradient from the features; the names of the weights stay as they are."""
    pool = network.get_submodule("head.pool")
    network.set_submodule("head.pool", nn.Sequential(pool, Detach()))


@torch.no_grad()
def channels(network: models.Network, layer: str) -> int:
    """Return C of a layer's features."""
    probe = copy.deepcopy(network).to("meta").eval()
    extractor = kd.FeatureExtractor(probe, **tap(probe, layer), logits=None, early_exit=True)
    output: kd.Output = extractor(torch.empty(1, network.in_channels, 8, 32, 32, device="meta"))
    return output.features[layer].shape[1]
