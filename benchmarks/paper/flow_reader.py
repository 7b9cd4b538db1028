"""Networks that read flow out of the features of others, and one that predicts that nothing moves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import kdvideo as kd
from benchmarks.paper.methods import RGB
from benchmarks.paper.trained_networks import build
from examples.d3d.config import Config
from kdvideo import flow, models


class FlowReader(nn.Module):
    """A network up to one layer, and a decoder on it: a clip (B,C,T,H,W) -> encoded flow (B,3,T',H',W')."""

    def __init__(self, network: models.Network, layer: str, *, fine_tune: bool, widths: Sequence[int]) -> None:
        super().__init__()
        kind = kd.FeatureExtractor if fine_tune else kd.Teacher
        self.features = kind(network.eval(), [layer], logits=None, early_exit=True)
        self.layer = layer
        feature = self.features(torch.zeros(1, network.in_channels, 8, 32, 32)).features[layer]
        self.decoder = flow.FlowDecoder(feature.shape[1], widths=widths)
        if fine_tune:
            _freeze_unused(network, feature)

    def forward(self, clip: Tensor) -> Tensor:
        """Read the encoded flow of clips."""
        encoding: Tensor = self.decoder(self.features(clip).features[self.layer])
        return encoding


def _freeze_unused(network: nn.Module, feature: Tensor) -> None:
    # Layers after the tap get no gradient, which distributed training takes for an error.
    known = [p for p in network.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(feature.sum(), known, allow_unused=True)
    for parameter, gradient in zip(known, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


class Zeros(nn.Module):
    """Predicts that nothing moves, at a layer's resolution."""

    def __init__(self, config: Config, layer: str) -> None:
        super().__init__()
        network = kd.Teacher(build(RGB, config, 2, 0).to("meta"), [layer], logits=None, early_exit=True)
        self.layer, self.hidden = layer, (network,)  # no child: it has no values that could be moved to a device

    def forward(self, clip: Tensor) -> Tensor:
        """Return zero flow."""
        output: kd.Output = self.hidden[0](torch.empty_like(clip, device="meta"))
        return clip.new_zeros(len(clip), 3, *output.features[self.layer].shape[2:])
