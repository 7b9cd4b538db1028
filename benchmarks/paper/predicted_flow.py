"""S3D-G with 3D CNN flow: RGB alone goes in, the flow that a network predicts from it is classified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from benchmarks.paper import taps
from kdvideo import flow, models

TAP = "3A"
"""Where flow is decoded."""


class FlowPredictor(models.Network):
    """The first layers of an S3D-G, up to 3A, and a decoder: RGB (B,3,T,H,W) -> encoded flow (B,3,T',H',W')."""

    def __init__(self, s3dg: models.Inception3D) -> None:
        super().__init__()
        self.decoder = flow.FlowDecoder(taps.channels(s3dg, TAP))
        self.layers = nn.Sequential()
        for path, layer in s3dg.named_children():
            self.layers.add_module(path, layer)
            if path == s3dg.layer_names[TAP]:
                break
        self.config = {**s3dg.config, "architecture": "flow_predictor"}
        self.layer_names, self.input_spec = {"flow": "decoder"}, s3dg.input_spec

    def forward(self, clip: Tensor) -> Tensor:
        """Predict the encoded flow of clips."""
        encoding: Tensor = self.decoder(self.layers(clip))
        return encoding


class PredictedFlowNetwork(models.Network):
    """A flow predictor, and a flow network that classifies what it predicts: RGB (B,3,T,H,W) -> logits (B,K).

    ``bound`` is that of the flow network's input, in pixels.
    """

    def __init__(self, predictor: FlowPredictor, temporal: models.Network, *, bound: float) -> None:
        super().__init__()
        self.predictor, self.temporal, self.bound = predictor, temporal, bound
        self.config = {
            "architecture": "predicted_flow",
            "in_channels": predictor.in_channels,
            "num_classes": temporal.num_classes,
            "predictor": predictor.config,
            "temporal": temporal.config,
            "bound": bound,
        }
        self.layer_names, self.input_spec = {"flow": "predictor.decoder"}, predictor.input_spec

    def forward(self, clip: Tensor) -> Tensor:
        """Classify clips by the flow that is predicted from them."""
        predicted = flow.decoded_clip(self.predictor(clip), clip.shape[2:], bound=self.bound)
        logits: Tensor = self.temporal(predicted)
        return logits


def build(config: Mapping[str, Any]) -> models.Network:
    """The network that has such a ``config``, with fresh weights."""
    arguments = dict(config)
    architecture = arguments.pop("architecture")
    if architecture == "predicted_flow":
        predictor, temporal = build(config["predictor"]), build(config["temporal"])
        assert isinstance(predictor, FlowPredictor)
        return PredictedFlowNetwork(predictor, temporal, bound=config["bound"])
    s3dg = models.s3dg(**arguments)
    return FlowPredictor(s3dg) if architecture == "flow_predictor" else s3dg
