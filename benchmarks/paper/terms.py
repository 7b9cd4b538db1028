"""What a training optimises: the network with what its method adds to it, and the terms of the loss."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

import kdvideo as kd
from examples.d3d import networks, predicted_flow, taps
from examples.d3d.config import Config
from examples.d3d.runs import Run
from examples.d3d.teaching import Target
from kdvideo import flow, models

FLOW_ROLE = "flow"


def make_student(run: Run, network: models.Network) -> kd.Student:
    """The network with the tap, and the projector or the flow decoder, that the method's loss needs."""
    method = run.method
    if not method.action:
        taps.detach_classifier(network)
    if run.distills:
        return kd.Student(network, **taps.tap(network, method.layer), projectors=_projector(run, network))
    if not method.flow_loss_weight:
        return kd.Student(network)
    if isinstance(network, predicted_flow.FlowPredictor):
        return kd.Student(network, {"flow": FLOW_ROLE}, logits=None)
    if method.predicted_flow:
        return kd.Student(network, {"flow": FLOW_ROLE})
    decoder = flow.FlowDecoder(taps.channels(network, predicted_flow.TAP))
    return kd.Student(network, {predicted_flow.TAP: FLOW_ROLE}, projectors={FLOW_ROLE: decoder})


def _projector(run: Run, network: models.Network) -> dict[str, nn.Module]:
    """To the width of the teacher's features, where the student's is another."""
    layer = run.method.layer
    if layer == "logits":
        return {}
    assert run.teacher is not None
    widths = [taps.channels(one, layer) for one in (network, networks.load(run.teacher)[0])]
    if widths[0] == widths[1]:
        return {}
    return {layer: kd.projectors.linear(*widths) if layer == "pooled" else kd.projectors.conv(*widths)}


def losses(run: Run, student: nn.Module, target: Target | None, batch: dict[str, Any]) -> dict[str, Tensor]:
    """The weighted terms of the loss of one batch, by name."""
    output: kd.Output = student(batch[run.stream])
    terms = {}
    if output.logits is not None:
        terms["action"] = F.cross_entropy(output.logits.float(), batch["label"])
    if target is not None:
        terms["distill"] = run.distill_weight * criterion(run)(output, target(batch))
    if run.method.flow_loss_weight:
        distance = flow_loss(run.config, output.features[FLOW_ROLE], batch["flow"])
        terms["flow"] = run.method.flow_loss_weight * distance
    return terms


def criterion(run: Run) -> kd.Loss:
    """What tells student and teacher apart; of features it is always the mean."""
    layer = run.method.layer
    return kd.LogitMSE(reduction=run.config.class_reduction) if layer == "logits" else kd.FeatureMSE(layer)


def flow_loss(config: Config, predicted: Tensor, clip: Tensor) -> Tensor:
    """The decoder's loss against the flow of the very view that the network sees, as a flow network is fed it."""
    return flow.decoder_loss(predicted, flow_target(config, predicted, clip))


def flow_target(config: Config, predicted: Tensor, clip: Tensor) -> Tensor:
    """What a decoder should have predicted from that view."""
    bound = config.input.flow_bound
    stride = -(-config.input.frames // predicted.shape[2])
    pixels = flow.clip_to_pixels(clip, bound=bound)
    return flow.decoder_target(pixels, predicted.shape[2:], temporal_stride=stride, bound=bound)
