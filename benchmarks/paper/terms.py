"""What the methods of the tables optimize: the network with its taps, and the terms of the loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

import kdvideo as kd
from benchmarks.paper import predicted_flow, taps
from benchmarks.paper.methods import Method
from benchmarks.paper.trained_networks import Trained
from examples.d3d.batches import Batch, Losses
from examples.d3d.config import Config
from examples.d3d.teaching import Target
from kdvideo import flow, models

FLOW_ROLE = "flow"


def student(method: Method, network: models.Network, teacher: Trained | None) -> kd.Student:
    """Wrap the network with the tap, and the projector or the flow decoder, that the method's loss needs."""
    if not method.action:
        taps.detach_classifier(network)
    if method.distills and teacher:
        projectors = {} if method.layer == "logits" else _projector(method.layer, network, teacher.network)
        return kd.Student(network, **taps.tap(network, method.layer), projectors=projectors)
    if not method.flow_loss_weight:
        return kd.Student(network)
    if isinstance(network, predicted_flow.FlowPredictor):
        return kd.Student(network, {"flow": FLOW_ROLE}, logits=None)
    if method.predicted_flow:
        return kd.Student(network, {"flow": FLOW_ROLE})
    decoder = flow.FlowDecoder(taps.channels(network, predicted_flow.TAP))
    return kd.Student(network, {predicted_flow.TAP: FLOW_ROLE}, projectors={FLOW_ROLE: decoder})


def _projector(layer: str, network: models.Network, teacher: models.Network) -> dict[str, nn.Module]:
    """A projector to the width of the teacher's features, where the student's is another."""
    widths = [taps.channels(one, layer) for one in (network, teacher)]
    if widths[0] == widths[1]:
        return {}
    return {layer: kd.projectors.linear(*widths) if layer == "pooled" else kd.projectors.conv(*widths)}


def losses(method: Method, config: Config, target: Target) -> Losses:
    """Return (student, batch) -> the weighted terms of the loss by name."""
    weight = config.distill_weight * method.distill_weight
    criterion: kd.Loss = kd.LogitMSE(reduction=config.class_reduction)
    if method.layer != "logits":
        criterion = kd.FeatureMSE(method.layer)  # of features it is always the mean

    def terms(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        output: kd.Output = model(batch[method.stream])
        found = {}
        if output.logits is not None:
            found["action"] = F.cross_entropy(output.logits.float(), batch["label"])
        if method.distills:
            found["distill"] = (weight * criterion)(output, target(batch))
        if method.flow_loss_weight:
            distance = flow_loss(config, output.features[FLOW_ROLE], batch["flow"])
            found["flow"] = method.flow_loss_weight * distance
        return found

    return terms


def flow_loss(config: Config, predicted: Tensor, clip: Tensor) -> Tensor:
    """Compute the decoder's loss against the flow of the very view that the network sees."""
    return flow.decoder_loss(predicted, flow_target(config, predicted, clip))


def flow_target(config: Config, predicted: Tensor, clip: Tensor) -> Tensor:
    """Compute what a decoder should have predicted from that view."""
    bound = config.input.flow_bound
    stride = -(-clip.shape[2] // predicted.shape[2])
    pixels = flow.clip_to_pixels(clip, bound=bound)
    return flow.decoder_target(pixels, predicted.shape[2:], temporal_stride=stride, bound=bound)
