"""The terms of each method's loss on a batch of training views, and what they move."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import default_collate

import kdvideo as kd
from benchmarks.paper import taps, terms, trained_networks
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import D3D, D3D_2C, D3D_4C, D3D_SPATIAL, FLOW_LOSS, FLOW_PREDICTION, MARS, MERS, Method
from examples.d3d.batches import Batch, Losses
from examples.d3d.networks import CHANNELS, fast_start, save
from examples.d3d.training import make_accelerator
from kdvideo import data, flow, models
from tests.examples.tiny import config

STREAMS = ("rgb", "flow")
SMALL = ("--network.depth-multiplier", "0.125", "--network.fast-start", "--network.dropout", "0")


@dataclass
class Prepared:
    """A training before its first step: the student (dropout off), its losses and teacher, one batch of its views."""

    lab: Lab
    student: kd.Student
    losses: Losses
    target: Callable[[Batch], kd.Output]
    batch: Batch

    def terms(self) -> Mapping[str, torch.Tensor]:
        return self.losses(self.student, self.batch)


@pytest.fixture(scope="module")
def trained(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An untrained network of each stream, as a file; in its folder the flow of all clips is stored."""
    folder = tmp_path_factory.mktemp("terms")
    setup = config(clips, folder)
    lab = Lab(setup, make_accelerator(setup))
    torch.manual_seed(5)
    for stream in STREAMS:
        network = models.s3dg(2, in_channels=CHANNELS[stream], depth_multiplier=0.125)
        fast_start(network)
        save(network, folder / f"{stream}.safetensors", lab.clips, stream)
    return {stream: folder / f"{stream}.safetensors" for stream in STREAMS}


def laboratory(clips: Path, trained: dict[str, Path], *more: str) -> Lab:
    setup = config(clips, trained["rgb"].parent, *SMALL, *more)
    return Lab(setup, make_accelerator(setup))


def prepared(clips: Path, trained: dict[str, Path], method: Method, *more: str) -> Prepared:
    lab = laboratory(clips, trained, *more)
    teacher = trained_networks.load(trained[method.teacher.stream], lab.clips) if method.teacher else None
    teaching = lab._teaching(method, lab.config, 0, teacher)
    student = terms.student(method, trained_networks.start(method, lab.config, 2, 0), teacher).train()
    batch = data.to_float(default_collate([teaching.views[3, k] for k in range(4)]))
    return Prepared(lab, student, terms.losses(method, lab.config, teaching.target), teaching.target, batch)


def network_of(path: Path) -> models.Network:
    return models.checkpoints.load(path)[0]


def gradients(student: kd.Student, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    student.zero_grad()
    loss.backward(retain_graph=True)
    return {name: p.grad.clone() for name, p in student.model.named_parameters() if p.grad is not None}


def moved(found: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, gradient in found.items() if gradient.any()}


@pytest.mark.parametrize("method", [D3D, D3D_SPATIAL])
def test_the_teacher_sees_its_own_stream_of_the_view(clips, trained, method: Method) -> None:
    one = prepared(clips, trained, method)
    seen, batch = method.teacher.stream, one.batch
    assert ("flow" in batch) == (seen == "flow")
    teacher = network_of(trained[seen])
    with torch.no_grad():
        expected = F.mse_loss(one.student.eval()(batch["rgb"]).logits, teacher(batch[seen]))
        found = one.terms()
    assert torch.allclose(found["distill"], expected)
    assert expected > 0


@pytest.mark.parametrize(("method", "path"), [(D3D_2C, "conv_2c"), (D3D_4C, "mixed_4c")])
def test_features_are_compared_where_the_method_says(clips, trained, method: Method, path: str) -> None:
    one = prepared(clips, trained, method, "--distill-weight", "3")
    student, seen = one.student, []
    teacher = network_of(trained["flow"])
    for network in (student.eval().model, teacher):
        network.get_submodule(path).register_forward_hook(lambda module, inputs, output: seen.append(output))
    found = one.terms()
    teacher(one.batch["flow"])
    assert torch.allclose(found["distill"], 3 * F.mse_loss(*seen))
    above = {name for name in dict(student.model.named_parameters()) if name.startswith(("mixed_5", "head"))}
    assert not above & moved(gradients(student, found["distill"]))
    assert above < moved(gradients(student, found["action"]))


@pytest.mark.parametrize("method", [MARS, MERS])
def test_pooled_features_are_what_the_classifier_averages(clips, trained, method: Method) -> None:
    one = prepared(clips, trained, method)
    teacher = network_of(trained["flow"])
    output = one.student.eval()(one.batch["rgb"])
    head = one.student.model.head.proj
    assert torch.allclose(head(output.features["pooled"]), output.logits, atol=1e-6)
    said = one.target(one.batch)
    assert said.logits is None
    assert torch.allclose(teacher.head.proj(said.features["pooled"]), teacher(one.batch["flow"]), atol=1e-6)
    expected = 50 * F.mse_loss(output.features["pooled"], said.features["pooled"])
    assert torch.allclose(one.terms()["distill"], expected)


def test_pooled_features_are_a_mean_over_time_too() -> None:
    network = models.s3dg(2, depth_multiplier=0.125).eval()
    fast_start(network)
    student = kd.Student(network, **taps.tap(network, "pooled"))
    with torch.no_grad():
        output = student(torch.randn(1, 3, 24, 32, 32))  # three steps, which the head pools to two positions
    error = network.head.proj(output.features["pooled"]) - output.logits
    assert error.abs().max() < 1e-3 * output.logits.abs().max()


def test_cross_entropy_trains_only_the_classifier_of_mers(clips, trained) -> None:
    one = prepared(clips, trained, MERS)
    student, found = one.student, one.terms()
    by_action, by_teacher = (gradients(student, found[name]) for name in ("action", "distill"))
    classifier = {"head.proj.weight", "head.proj.bias"}
    assert set(by_action) == moved(by_action) == classifier
    assert not classifier & set(by_teacher)
    together = gradients(student, found["action"] + found["distill"])
    assert together.keys() == dict(student.model.named_parameters()).keys()
    assert all(torch.equal(together[name], gradient) for name, gradient in (by_teacher | by_action).items())
    one = prepared(clips, trained, MARS)
    assert "conv_1a.conv.weight" in moved(gradients(one.student, one.terms()["action"]))


@pytest.mark.parametrize("method", [FLOW_LOSS, FLOW_PREDICTION])
def test_flow_is_learned_from_the_stored_flow_of_the_view(clips, trained, method: Method) -> None:
    one = prepared(clips, trained, method)
    batch, found = one.batch, one.terms()
    with pytest.raises(AssertionError, match="without a teacher"):
        one.target(batch)
    mirrored = prepared(clips, trained, method, "--input.no-flip").batch["flow"]
    turned = [k for k in range(4) if not torch.equal(batch["flow"][k], mirrored[k])]
    assert 0 < len(turned) < 4
    for k in turned:
        assert torch.equal(batch["flow"][k], mirrored[k].flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))

    predicted = one.student(batch["rgb"]).features["flow"]
    pixels = one.lab.config.input.flow_bound * batch["flow"].transpose(1, 2)  # (B,T,2,H,W); 8 frames give 4 steps of 3A
    encoding = flow.im2flow_encode(flow.area_pool(pixels[:, ::2], (4, 4))).transpose(1, 2)
    squares = (predicted - encoding) ** 2
    expected = (squares[:, 0] + encoding[:, 0] * squares[:, 1:].sum(1)).mean()
    assert torch.allclose(found["flow"], method.flow_loss_weight * expected, rtol=1e-4)
    assert ("action" in found) == (method == FLOW_LOSS)


def test_the_flow_loss_trains_decoder_and_lower_layers(clips, trained) -> None:
    one = prepared(clips, trained, FLOW_LOSS)
    reached = moved(gradients(one.student, one.terms()["flow"]))
    assert {name.split(".")[0] for name in reached} == {"conv_1a", "conv_2b", "conv_2c"}
    assert all(parameter.grad is not None for parameter in one.student.projectors.parameters())


def test_predicted_flow_is_trained_by_the_action(clips, trained, tmp_path: Path) -> None:
    one = prepared(clips, trained, FLOW_PREDICTION)
    path, lab = tmp_path / "predictor.safetensors", one.lab
    save(one.student.remove(), path, lab.clips, "rgb")
    method = Method("both", teacher=D3D.teacher, predicted_flow=True, flow_loss_weight=2.0)
    temporal, predictor = (trained_networks.load(file, lab.clips) for file in (trained["flow"], path))
    start = trained_networks.start(method, lab.config, 2, 0, temporal, predictor)
    whole = terms.student(method, start, temporal).train()
    found = terms.losses(method, lab.config, one.target)(whole, one.batch)
    assert set(found) == {"action", "flow"}
    by_action, by_flow = (moved(gradients(whole, found[name])) for name in ("action", "flow"))
    assert {name.split(".")[0] for name in by_action} == {"predictor", "temporal"}
    assert "predictor.layers.conv_1a.conv.weight" in by_action & by_flow
    assert {name.split(".")[0] for name in by_flow} == {"predictor"}
    bound, encoding = lab.config.input.flow_bound, whole.model.eval().predictor(one.batch["rgb"])
    clip = flow.decoded_clip(encoding, one.batch["rgb"].shape[2:], bound=bound)
    assert torch.equal(whole.model(one.batch["rgb"]), whole.model.temporal(clip))
    assert bound == 5.0
