"""The terms of each method's loss on a batch of training views, and what they move."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from examples.d3d.methods import D3D, D3D_2C, D3D_4C, D3D_SPATIAL, FLOW_LOSS, FLOW_PREDICTION, MARS, MERS, Method
from examples.d3d.runs import Run
from examples.d3d.train import make_accelerator
from torch.utils.data import default_collate

import kdvideo as kd
from examples.d3d import clips as recipe_clips
from examples.d3d import losses, networks, taps, teaching
from kdvideo import flow, models
from tests.examples.tiny import CLASSES, config

STREAMS = ("rgb", "flow")


@pytest.fixture(scope="module")
def trained(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An untrained network of each stream, as a file; in it the flow of all clips is already stored."""
    folder = tmp_path_factory.mktemp("losses")
    setup = config(clips, folder)
    torch.manual_seed(5)
    for stream in STREAMS:
        network = models.s3dg(2, in_channels=networks.CHANNELS[stream], depth_multiplier=0.125)
        networks._start_fast(network)
        spec = recipe_clips.input_spec(setup, stream)
        models.checkpoints.save(network, folder / f"{stream}.safetensors", classes=list(CLASSES), input_spec=spec)
    return {stream: folder / f"{stream}.safetensors" for stream in STREAMS}


def prepared(clips: Path, trained: dict[str, Path], method: Method, *more: str) -> tuple[Run, kd.Student, Any, Any]:
    """A run with its student (dropout off), its teacher and one batch of its views."""
    small = ("--network.depth-multiplier", "0.125", "--network.fast-start", "--network.dropout", "0", *more)
    setup = config(clips, trained["rgb"].parent, *small)
    train, _ = recipe_clips.manifests(setup)
    teacher = trained[method.teacher.stream] if method.teacher else None
    run = Run(setup, make_accelerator(setup), method.stream, 0, train, teacher, method=method)
    views = teaching.training_views(run)
    student = losses.make_student(run, networks.start(run, 2)).train()
    return run, student, teaching.target(run, views), default_collate([views[3, k] for k in range(4)])


def gradients(student: kd.Student, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    student.zero_grad()
    loss.backward(retain_graph=True)
    return {name: p.grad.clone() for name, p in student.model.named_parameters() if p.grad is not None}


def moved(found: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, gradient in found.items() if gradient.any()}


@pytest.mark.parametrize("method", [D3D, D3D_SPATIAL])
def test_the_teacher_sees_its_own_stream_of_the_view(clips, trained, method: Method) -> None:
    run, student, target, batch = prepared(clips, trained, method)
    seen = method.teacher.stream
    assert ("flow" in batch) == (seen == "flow")
    teacher = networks.load(trained[seen])[0]
    with torch.no_grad():
        expected = F.mse_loss(student.eval()(batch["rgb"]).logits, teacher(batch[seen]))
        terms = losses.losses(run, student, target, batch)
    assert torch.allclose(terms["distill"], expected)
    assert expected > 0


@pytest.mark.parametrize(("method", "path"), [(D3D_2C, "conv_2c"), (D3D_4C, "mixed_4c")])
def test_features_are_compared_where_the_method_says(clips, trained, method: Method, path: str) -> None:
    run, student, target, batch = prepared(clips, trained, method, "--distill-weight", "3")
    seen: list[torch.Tensor] = []
    teacher = networks.load(trained["flow"])[0]
    for network in (student.eval().model, teacher):
        network.get_submodule(path).register_forward_hook(lambda module, inputs, output: seen.append(output))
    terms = losses.losses(run, student, target, batch)
    teacher(batch["flow"])
    assert torch.allclose(terms["distill"], 3 * F.mse_loss(*seen))
    above = {name for name in dict(student.model.named_parameters()) if name.startswith(("mixed_5", "head"))}
    assert not above & moved(gradients(student, terms["distill"]))
    assert above < moved(gradients(student, terms["action"]))


@pytest.mark.parametrize("method", [MARS, MERS])
def test_pooled_features_are_what_the_classifier_averages(clips, trained, method: Method) -> None:
    run, student, target, batch = prepared(clips, trained, method)
    teacher = networks.load(trained["flow"])[0]
    output = student.eval()(batch["rgb"])
    head = student.model.head.proj
    assert torch.allclose(head(output.features["pooled"]), output.logits, atol=1e-6)
    said = target(batch)
    assert said.logits is None
    assert torch.allclose(teacher.head.proj(said.features["pooled"]), teacher(batch["flow"]), atol=1e-6)
    expected = 50 * F.mse_loss(output.features["pooled"], said.features["pooled"])
    assert torch.allclose(losses.losses(run, student, target, batch)["distill"], expected)


def test_pooled_features_are_a_mean_over_time_too() -> None:
    network = models.s3dg(2, depth_multiplier=0.125).eval()
    networks._start_fast(network)
    student = kd.Student(network, **taps.tap(network, "pooled"))
    with torch.no_grad():
        output = student(torch.randn(1, 3, 24, 32, 32))  # three steps, which the head pools to two positions
    error = network.head.proj(output.features["pooled"]) - output.logits
    assert error.abs().max() < 1e-3 * output.logits.abs().max()


def test_cross_entropy_trains_only_the_classifier_of_mers(clips, trained) -> None:
    run, student, target, batch = prepared(clips, trained, MERS)
    terms = losses.losses(run, student, target, batch)
    by_action, by_teacher = (gradients(student, terms[name]) for name in ("action", "distill"))
    classifier = {"head.proj.weight", "head.proj.bias"}
    assert set(by_action) == moved(by_action) == classifier
    assert not classifier & set(by_teacher)
    together = gradients(student, terms["action"] + terms["distill"])
    assert together.keys() == dict(student.model.named_parameters()).keys()
    assert all(torch.equal(together[name], gradient) for name, gradient in (by_teacher | by_action).items())
    run, student, target, batch = prepared(clips, trained, MARS)
    assert "conv_1a.conv.weight" in moved(gradients(student, losses.losses(run, student, target, batch)["action"]))


@pytest.mark.parametrize("method", [FLOW_LOSS, FLOW_PREDICTION])
def test_flow_is_learned_from_the_stored_flow_of_the_view(clips, trained, method: Method) -> None:
    run, student, target, batch = prepared(clips, trained, method)
    assert target is None
    terms = losses.losses(run, student, target, batch)
    mirrored = prepared(clips, trained, method, "--input.no-flip")[3]["flow"]
    turned = [k for k in range(4) if not torch.equal(batch["flow"][k], mirrored[k])]
    assert 0 < len(turned) < 4
    for k in turned:
        assert torch.equal(batch["flow"][k], mirrored[k].flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))

    predicted = student(batch["rgb"]).features["flow"]
    pixels = run.config.input.flow_bound * batch["flow"].transpose(1, 2)  # (B,T,2,H,W); 8 frames give 4 steps of 3A
    encoding = flow.im2flow_encode(flow.area_pool(pixels[:, ::2], (4, 4))).transpose(1, 2)
    squares = (predicted - encoding) ** 2
    expected = (squares[:, 0] + encoding[:, 0] * squares[:, 1:].sum(1)).mean()
    assert torch.allclose(terms["flow"], method.flow_loss_weight * expected, rtol=1e-4)
    assert ("action" in terms) == (method == FLOW_LOSS)


def test_the_flow_loss_trains_decoder_and_lower_layers(clips, trained) -> None:
    run, student, target, batch = prepared(clips, trained, FLOW_LOSS)
    terms = losses.losses(run, student, target, batch)
    reached = moved(gradients(student, terms["flow"]))
    assert {name.split(".")[0] for name in reached} == {"conv_1a", "conv_2b", "conv_2c"}
    assert all(parameter.grad is not None for parameter in student.projectors.parameters())


def test_predicted_flow_is_trained_by_the_action(clips, trained, tmp_path: Path) -> None:
    run, student, _, batch = prepared(clips, trained, FLOW_PREDICTION)
    path = tmp_path / "predictor.safetensors"
    models.checkpoints.save(
        student.remove(), path, classes=list(CLASSES), input_spec=recipe_clips.input_spec(run.config, "rgb")
    )
    method = Method("both", teacher=D3D.teacher, predicted_flow=True, flow_loss_weight=2.0)
    taught = Run(run.config, run.accelerator, "rgb", 0, run.train, trained["flow"], method=method, predictor=path)
    whole = losses.make_student(taught, networks.start(taught, 2)).train()
    terms = losses.losses(taught, whole, None, batch)
    by_action, by_flow = (moved(gradients(whole, terms[name])) for name in ("action", "flow"))
    assert {name.split(".")[0] for name in by_action} == {"predictor", "temporal"}
    assert "predictor.layers.conv_1a.conv.weight" in by_action & by_flow
    assert {name.split(".")[0] for name in by_flow} == {"predictor"}
    bound, encoding = run.config.input.flow_bound, whole.model.eval().predictor(batch["rgb"])
    clip = flow.decoded_clip(encoding, batch["rgb"].shape[2:], bound=bound)
    assert torch.equal(whole.model(batch["rgb"]), whole.model.temporal(clip))
    assert bound == 5.0
