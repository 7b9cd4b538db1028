"""Every method on tiny clips: it trains after what it builds on, its file loads and scores, it resumes."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from examples.d3d.methods import (
    CNN_FLOW,
    D3D,
    D3D_4C,
    D3D_SPATIAL,
    FLOW,
    FLOW_LOSS,
    MARS,
    METHODS,
    RGB,
    Method,
)
from examples.d3d.runs import Run
from examples.d3d.train import fit, make_accelerator
from safetensors import safe_open
from safetensors.torch import load_file

from examples.d3d import clips as recipe_clips
from examples.d3d import config as settings
from examples.d3d import networks, students
from examples.d3d.evaluate import scores
from kdvideo import models
from tests.examples.tiny import CLASSES, config

SMALL = ("--optimizer.steps", "4", "--network.depth-multiplier", "0.125")


@pytest.fixture(scope="module")
def setup(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> settings.Config:
    return config(clips, tmp_path_factory.mktemp("students"), *SMALL)


@pytest.fixture(scope="module")
def accelerator(setup: settings.Config) -> Accelerator:
    return make_accelerator(setup)


def log(weights: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in weights.with_name("log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_and_its_file_alone_gives_the_scores(setup, accelerator, name: str) -> None:
    method = METHODS[name]
    given = students.method_scores(setup, method, 0, accelerator)
    weights = students.train_method(setup, method, 0, accelerator)
    network, info = networks.load(weights)
    assert info["classes"] == students.class_names(setup) == list(CLASSES)
    _, test = recipe_clips.manifests(setup)
    source = recipe_clips.flow_store(setup, test) if method.stream == "flow" else None
    views = recipe_clips.views(setup, test, source, train=False, rgb=method.stream == "rgb")
    assert torch.allclose(given, scores(network, views, method.stream, setup, accelerator), atol=1e-6)
    assert given.shape == (len(students.test_labels(setup)), len(CLASSES))
    terms = {"action"} | ({"distill"} if method.distills else set()) | ({"flow"} if method == FLOW_LOSS else set())
    assert set(log(weights)[-1]) - {"step"} == terms
    backbone = {"nl_s3dg": "s3dg"}.get(method.backbone, method.backbone)
    assert network.config["architecture"] == ("predicted_flow" if method.predicted_flow else backbone)
    assert bool(network.config.get("non_local")) == (method.backbone == "nl_s3dg")
    assert network.config.get("dropout", 0.2) == (0.5 if method.backbone == "i3d" else 0.2)


def test_a_teacher_of_the_same_stream_has_another_seed(setup, accelerator, monkeypatch) -> None:
    trained = []
    monkeypatch.setattr(students, "fit", lambda run: trained.append((run.method, run.seed)) or fit(run))
    students.train_method(setup, D3D_SPATIAL, 0, accelerator)
    students.train_method(setup, D3D, 0, accelerator)
    assert trained == [(RGB, 1), (D3D_SPATIAL, 0), (FLOW, 0), (D3D, 0)]


def test_done_work_is_not_done_again(setup, accelerator, monkeypatch) -> None:
    first = [students.method_scores(setup, method, 0, accelerator) for method in (D3D, CNN_FLOW)]
    monkeypatch.setattr("examples.d3d.train._train", None)
    monkeypatch.setattr("examples.d3d.evaluate.scores", None)
    again = [students.method_scores(setup, method, 0, accelerator) for method in (D3D, CNN_FLOW)]
    assert all(map(torch.equal, first, again))


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    members = [torch.tensor([[0.9, 0.1]]), torch.tensor([[0.3, 0.7]]), torch.tensor([[0.0, 1.0]])]
    assert torch.allclose(students.ensemble(members), torch.tensor([[0.4, 0.6]]))


def test_labels_follow_the_test_clips(setup) -> None:
    assert students.test_labels(setup).tolist() == [0, 0, 1, 1]


def test_predicted_flow_starts_with_its_two_trained_halves_and_shares_the_steps(setup, accelerator) -> None:
    weights = students.train_method(setup, CNN_FLOW, 0, accelerator)
    recorded = json.loads(weights.with_name("settings.json").read_text())
    files = {recipe_clips.file_hash(path): path for path in setup.work_dir.glob("trained/*/model.safetensors")}
    predictor, temporal = files[recorded["predictor"]], files[recorded["teacher"]]
    assert temporal == students.train_method(setup, FLOW, 0, accelerator)
    assert (len(log(predictor)), len(log(weights))) == (1, 3)
    assert set(log(predictor)[0]) == {"step", "flow"}
    assert recorded["optimizer"]["lr"] == pytest.approx(0.1 * setup.optimizer.lr)
    train, _ = recipe_clips.manifests(setup)
    run = Run(setup, accelerator, "rgb", 0, train, temporal, method=CNN_FLOW, predictor=predictor)
    started, trained = networks.start(run, 2).state_dict(), load_file(weights)
    for path, prefix in ((predictor, "predictor."), (temporal, "temporal.")):
        part = {prefix + name: value for name, value in load_file(path).items()}
        assert all(torch.equal(started[name], value) for name, value in part.items())
        assert any(not torch.equal(trained[name], value) for name, value in part.items())
    assert len(started) == len(load_file(predictor)) + len(load_file(temporal))


@pytest.mark.parametrize("method", [FLOW_LOSS, MARS, CNN_FLOW])
def test_a_stopped_training_goes_on_as_if_it_never_stopped(setup, accelerator, method: Method, tmp_path: Path) -> None:
    whole = students.train_method(setup, method, 0, accelerator)
    shutil.copytree(setup.work_dir, tmp_path, dirs_exist_ok=True)
    copy = tmp_path / "trained" / whole.parent.name
    (copy / "model.safetensors").unlink()
    newest = max(copy.glob("checkpoints/step_*"))
    shutil.rmtree(newest)
    resumed = students.train_method(dataclasses.replace(setup, work_dir=tmp_path), method, 0, accelerator)
    assert resumed == copy / "model.safetensors"
    assert log(resumed) == log(whole)
    expected, got = load_file(whole), load_file(resumed)
    assert all(torch.equal(got[name], value) for name, value in expected.items())


def test_layer_distillation_of_weight_0_is_no_distillation(setup, accelerator, tmp_path: Path) -> None:
    plain, teacher = (students.train_method(setup, method, 0, accelerator) for method in (RGB, FLOW))
    nothing = dataclasses.replace(setup, distill_weight=0.0)
    assert students.train_method(nothing, D3D_4C, 0, accelerator) == plain
    train, _ = recipe_clips.manifests(setup)
    taught = fit(Run(nothing, accelerator, "rgb", 0, train, teacher, method=D3D_4C))
    assert taught != plain
    assert {row["distill"] for row in log(taught)} == {0.0}
    expected, got = load_file(plain), load_file(taught)
    assert expected.keys() == got.keys()
    assert all(torch.equal(got[name], value) for name, value in expected.items())


@pytest.mark.parametrize("method", [D3D_SPATIAL, MARS])
def test_a_cache_teaches_other_methods_too(setup, accelerator, method: Method) -> None:
    still = dataclasses.replace(setup.optimizer, name="sgd", lr=1e-7, momentum=0.0)
    teacher = students.train_method(setup, FLOW, 0, accelerator)
    live = dataclasses.replace(setup, optimizer=still, teacher=teacher, distinct_views=2)
    cached = dataclasses.replace(live, flow_from="cache", cache_flow="online" if method == D3D_SPATIAL else "frames")
    losses = [
        torch.tensor([row["distill"] for row in log(students.train_method(one, method, 0, accelerator))])
        for one in (live, cached)
    ]
    assert losses[0].min() > 0
    assert torch.allclose(losses[0], losses[1], rtol=1e-2)


def wide(path: Path, setup: settings.Config, *, stream: str = "flow", classes: tuple[str, ...] = CLASSES) -> Path:
    """An untrained network, twice as wide as those here."""
    network = models.s3dg(len(classes), in_channels=networks.CHANNELS[stream], depth_multiplier=0.25)
    models.checkpoints.save(network, path, classes=list(classes), input_spec=recipe_clips.input_spec(setup, stream))
    return path


@pytest.mark.parametrize(("method", "widths"), [(D3D_4C, (128, 80)), (MARS, (256, 128))])
def test_a_projector_bridges_widths_and_stays_out_of_the_file(
    setup, accelerator, method: Method, widths: tuple[int, int], tmp_path: Path
) -> None:
    teacher = wide(tmp_path / "wide.safetensors", setup)
    weights = students.train_method(dataclasses.replace(setup, teacher=teacher), method, 0, accelerator)
    state = torch.load(max(weights.parent.glob("checkpoints/step_*")) / "state.pt", weights_only=True)
    assert state["projectors"][f"{method.layer}.weight"].shape[:2] == widths
    with safe_open(weights, framework="pt") as file:
        assert set(file.keys()) == set(load_file(students.train_method(setup, RGB, 0, accelerator)))


def test_a_training_starts_from_trained_weights_with_a_fresh_classifier(setup, accelerator, tmp_path: Path) -> None:
    path = wide(tmp_path / "five.safetensors", setup, stream="rgb", classes=tuple("abcde"))
    thin = dataclasses.replace(setup, init_from=path)
    train, _ = recipe_clips.manifests(setup)
    with pytest.raises(ValueError, match=r"five.safetensors cannot start .*depth_multiplier 0.25, not 0.125$"):
        networks.start(Run(thin, accelerator, "rgb", 0, train), 2)
    fitting = dataclasses.replace(thin, network=dataclasses.replace(setup.network, depth_multiplier=0.25))
    run = Run(fitting, accelerator, "rgb", 0, train)
    started, given = networks.start(run, 2).state_dict(), load_file(path)
    differ = {name for name, value in given.items() if not torch.equal(value, started[name])}
    assert differ == {"head.proj.weight", "head.proj.bias"}  # the bias has another shape
    assert started["head.proj.weight"].shape[0] == 2
    assert torch.equal(started["head.proj.weight"], networks.start(run, 2).state_dict()["head.proj.weight"])
    fast = dataclasses.replace(fitting, network=dataclasses.replace(fitting.network, fast_start=True))
    networks_of_both = [networks.start(Run(one, accelerator, "rgb", 0, train), 2) for one in (fitting, fast)]
    assert [one.conv_1a.bn.momentum for one in networks_of_both] == [0.001, 0.1]
    students.train_method(fitting, D3D, 0, accelerator)  # whose flow network the file could not start
    with pytest.raises(ValueError, match="init-from does not work"):
        students.train_method(fitting, CNN_FLOW, 0, accelerator)


@pytest.mark.parametrize("broken", [lambda data: data[:500], lambda data: b"nothing"])
def test_a_broken_file_is_named(tmp_path: Path, setup, broken: Callable[[bytes], bytes]) -> None:
    path = wide(tmp_path / "whole.safetensors", setup)
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(ValueError, match=r"whole\.safetensors"):
        networks.load(path)
