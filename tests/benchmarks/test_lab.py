"""Every method on tiny clips: it trains after what it builds on, its file loads and scores, it resumes."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from benchmarks.paper import accuracies, trained_networks
from benchmarks.paper import lab as laboratory
from benchmarks.paper.accuracies import of_scores
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import CNN_FLOW, D3D, D3D_4C, D3D_SPATIAL, FLOW, FLOW_LOSS, MARS, METHODS, RGB, Method
from benchmarks.paper.tables.table import Row
from benchmarks.paper.trained_networks import Trained
from examples.d3d import evaluate
from examples.d3d.training import make_accelerator
from kdvideo import models
from kdvideo.training import StepLog
from tests.examples.tiny import CLASSES, config

SMALL = ("--optimizer.steps", "4", "--network.depth-multiplier", "0.125")


@pytest.fixture(scope="module")
def lab(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    setup = config(clips, tmp_path_factory.mktemp("lab"), *SMALL)
    return Lab(setup, make_accelerator(setup))


def changed(lab: Lab, **changes: object) -> Lab:
    return Lab(dataclasses.replace(lab.config, **changes), lab.accelerator)


def log(trained: Trained) -> list[dict[str, float]]:
    return StepLog.read(trained.path.with_name("log.jsonl"))


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_and_its_file_alone_gives_the_scores(lab: Lab, name: str) -> None:
    method = METHODS[name]
    trained = lab.train(method, 0)
    given = lab.scores(trained)
    read = trained_networks.load(trained.path, lab.clips)
    assert (read.stream, lab.clips.classes) == (method.stream, list(CLASSES))
    alone = evaluate.scores(read.network, read.stream, lab.clips, lab.config, lab.accelerator)
    assert torch.allclose(given, alone, atol=1e-6)
    assert given.shape == (len(lab.labels), len(CLASSES))
    terms = {"action"} | ({"distill"} if method.distills else set()) | ({"flow"} if method == FLOW_LOSS else set())
    assert set(log(trained)[-1]) - {"step"} == terms
    architecture = {"nl_s3dg": "s3dg"}.get(method.backbone, method.backbone)
    about = read.network.config
    assert about["architecture"] == ("predicted_flow" if method.predicted_flow else architecture)
    assert bool(about.get("non_local")) == (method.backbone == "nl_s3dg")
    assert about.get("dropout", 0.2) == (0.5 if method.backbone == "i3d" else 0.2)


def test_a_teacher_of_the_same_stream_has_another_seed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    train = Lab._train

    def watched(self: Lab, method: Method, seed: int, *rest: object, **options: object) -> Trained:
        asked.append((method, seed))
        return train(self, method, seed, *rest, **options)

    monkeypatch.setattr(Lab, "_train", watched)
    lab.train(D3D_SPATIAL, 0)
    lab.train(D3D, 0)
    assert asked == [(RGB, 1), (D3D_SPATIAL, 0), (FLOW, 0), (D3D, 0)]


def test_done_work_is_not_done_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [lab.scores(lab.train(method, 0)) for method in (D3D, CNN_FLOW)]
    monkeypatch.setattr(laboratory, "fit", None)
    monkeypatch.setattr("examples.d3d.evaluate.scores", None)
    again = [lab.scores(lab.train(method, 0)) for method in (D3D, CNN_FLOW)]
    assert all(map(torch.equal, first, again))


def test_scores_of_other_views_are_computed_anew(lab: Lab) -> None:
    trained = lab.train(RGB, 0)
    lab.scores(trained)
    count = len(list(lab.config.work_dir.glob("scores/*")))
    changed(lab, input=dataclasses.replace(lab.config.input, test_views=2)).scores(trained)
    assert len(list(lab.config.work_dir.glob("scores/*"))) == count + 1


def test_labels_follow_the_test_clips(lab: Lab) -> None:
    assert lab.labels.tolist() == [0, 0, 1, 1]
    sure = torch.eye(2, dtype=torch.float64)[[0, 1, 1, 1]]
    assert of_scores([sure], lab).per_class == {CLASSES[0]: 50.0, CLASSES[1]: 100.0}


def test_predicted_flow_starts_with_its_two_trained_halves_and_shares_the_steps(lab: Lab) -> None:
    trained, setup = lab.train(CNN_FLOW, 0), lab.config
    recorded = json.loads(trained.path.with_name("settings.json").read_text())
    every = [trained_networks.load(path, lab.clips) for path in setup.work_dir.glob("trained/*/model.safetensors")]
    by_weights = {one.fingerprint: one for one in every}
    predictor, temporal = by_weights[recorded["predictor"]], by_weights[recorded["teacher"]]
    assert temporal.path == lab.train(FLOW, 0).path
    assert (len(log(predictor)), len(log(trained))) == (1, 3)
    assert set(log(predictor)[0]) == {"step", "flow"}
    assert recorded["optimizer"]["lr"] == pytest.approx(0.1 * setup.optimizer.lr)
    started = trained_networks.start(CNN_FLOW, setup, 2, 0, temporal, predictor).state_dict()
    weights = load_file(trained.path)
    for one, prefix in ((predictor, "predictor."), (temporal, "temporal.")):
        part = {prefix + name: value for name, value in load_file(one.path).items()}
        assert all(torch.equal(started[name], value) for name, value in part.items())
        assert any(not torch.equal(weights[name], value) for name, value in part.items())
    assert len(started) == len(load_file(predictor.path)) + len(load_file(temporal.path))


def test_a_training_done_twice_in_one_environment_is_equal_to_the_last_bit(lab: Lab, tmp_path: Path) -> None:
    trained, again = lab.train(D3D, 0), changed(lab, work_dir=tmp_path).train(D3D, 0)
    assert again.path != trained.path
    first, second = ({name: about["first_losses"] for name, about in one.trainings.items()} for one in (trained, again))
    assert first == second
    assert first[trained.path.parent.name] == [row["action"] + row["distill"] for row in log(trained)[:4]]
    assert set(first) == {trained.path.parent.name, lab.train(FLOW, 0).path.parent.name}
    expected, got = load_file(trained.path), load_file(again.path)
    assert all(torch.equal(got[name], value) for name, value in expected.items())


def test_a_record_has_the_first_losses_and_the_cost_of_every_training(lab: Lab) -> None:
    measured = accuracies.measure(Row("both", (D3D, RGB)), lab, 0)
    parts = {lab.train(method, 0).path.parent.name for method in (D3D, FLOW, RGB)}
    assert set(measured.trainings) == parts
    assert all(len(about["first_losses"]) == 4 and about["seconds"] > 0 for about in measured.trainings.values())


@pytest.mark.parametrize("method", [FLOW_LOSS, MARS, CNN_FLOW])
def test_a_stopped_training_goes_on_as_if_it_never_stopped(lab: Lab, method: Method, tmp_path: Path) -> None:
    whole = lab.train(method, 0)
    shutil.copytree(lab.config.work_dir, tmp_path, dirs_exist_ok=True)
    copy = tmp_path / "trained" / whole.path.parent.name
    (copy / "model.safetensors").unlink()
    newest = max(copy.glob("checkpoints/step_*"))
    shutil.rmtree(newest)
    resumed = changed(lab, work_dir=tmp_path).train(method, 0)
    assert resumed.path == copy / "model.safetensors"
    assert log(resumed) == log(whole)
    expected, got = load_file(whole.path), load_file(resumed.path)
    assert all(torch.equal(got[name], value) for name, value in expected.items())


def test_layer_distillation_of_weight_0_is_no_distillation(lab: Lab, tmp_path: Path) -> None:
    plain, teacher = (lab.train(method, 0) for method in (RGB, FLOW))
    nothing = changed(lab, distill_weight=0.0)
    assert nothing.train(D3D_4C, 0).path == plain.path
    taught = nothing._train(D3D_4C, 0, nothing.config, teacher=teacher)
    assert taught.path != plain.path
    assert {row["distill"] for row in log(taught)} == {0.0}
    expected, got = load_file(plain.path), load_file(taught.path)
    assert expected.keys() == got.keys()
    assert all(torch.equal(got[name], value) for name, value in expected.items())


@pytest.mark.parametrize("method", [D3D_SPATIAL, MARS])
def test_a_cache_teaches_other_methods_too(lab: Lab, method: Method) -> None:
    still = dataclasses.replace(lab.config.optimizer, name="sgd", lr=1e-7, momentum=0.0)
    live = changed(lab, optimizer=still, teacher=lab.train(FLOW, 0).path, distinct_views=2)
    cached = changed(live, flow_from="cache", cache_flow="online" if method == D3D_SPATIAL else "frames")
    losses = [torch.tensor([row["distill"] for row in log(one.train(method, 0))]) for one in (live, cached)]
    assert losses[0].min() > 0
    assert torch.allclose(losses[0], losses[1], rtol=1e-2)


def wide(path: Path, lab: Lab, *, stream: str = "flow", classes: tuple[str, ...] = CLASSES) -> Path:
    """An untrained network, twice as wide as those here."""
    network = models.s3dg(len(classes), in_channels={"rgb": 3, "flow": 2}[stream], depth_multiplier=0.25)
    models.checkpoints.save(network, path, classes=list(classes), input_spec=lab.clips.seen(stream))
    return path


@pytest.mark.parametrize(("method", "widths"), [(D3D_4C, (128, 80)), (MARS, (256, 128))])
def test_a_projector_bridges_widths_and_stays_out_of_the_file(
    lab: Lab, method: Method, widths: tuple[int, int], tmp_path: Path
) -> None:
    trained = changed(lab, teacher=wide(tmp_path / "wide.safetensors", lab)).train(method, 0)
    state = torch.load(max(trained.path.parent.glob("checkpoints/step_*")) / "state.pt", weights_only=True)
    assert state["model"][f"projectors.{method.layer}.weight"].shape[:2] == widths
    with safe_open(trained.path, framework="pt") as file:
        assert set(file.keys()) == set(load_file(lab.train(RGB, 0).path))


def test_a_training_starts_from_trained_weights_with_a_fresh_classifier(lab: Lab, tmp_path: Path) -> None:
    path = wide(tmp_path / "five.safetensors", lab, stream="rgb", classes=tuple("abcde"))
    setup, given = lab.config, trained_networks.given(path)
    assert given.stream == "rgb"
    with pytest.raises(ValueError, match=r"five.safetensors must .* start it, got depth_multiplier 0.25, not 0.125$"):
        trained_networks.start(RGB, setup, 2, 0, weights=given)
    fitting = dataclasses.replace(setup, network=dataclasses.replace(setup.network, depth_multiplier=0.25))
    started, weights = trained_networks.start(RGB, fitting, 2, 0, weights=given).state_dict(), load_file(path)
    differ = {name for name, value in weights.items() if not torch.equal(value, started[name])}
    assert differ == {"head.proj.weight", "head.proj.bias"}  # the bias has another shape
    assert started["head.proj.weight"].shape[0] == 2
    again = trained_networks.start(RGB, fitting, 2, 0, weights=given).state_dict()
    assert torch.equal(started["head.proj.weight"], again["head.proj.weight"])
    assert all(torch.equal(value, given.network.state_dict()[name]) for name, value in weights.items())
    fast = dataclasses.replace(fitting, network=dataclasses.replace(fitting.network, fast_start=True))
    both = [trained_networks.start(RGB, one, 2, 0, weights=given) for one in (fitting, fast)]
    assert [one.conv_1a.bn.momentum for one in both] == [0.001, 0.1]
    other = Lab(fitting, lab.accelerator)
    started_there = other.train(D3D, 0, start=given)  # whose flow network the file could not start
    assert json.loads(started_there.path.with_name("settings.json").read_text())["start"] == given.fingerprint
    with pytest.raises(ValueError, match="starts with networks of its own"):
        other.train(CNN_FLOW, 0, start=given)
