"""Reading flow from features."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from benchmarks.paper import decoding
from benchmarks.paper.decoding import Features
from benchmarks.paper.flow_reader import FlowReader, Zeros
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import D3D, RGB
from benchmarks.paper.tables.table import Row
from benchmarks.paper.trained_networks import Trained
from examples.d3d.config import PAPER, SHORTCUT, Network
from examples.d3d.networks import learning_rate
from kdvideo import flow, models
from kdvideo.training import StepLog
from tests.examples.tiny import config

TINY = dataclasses.replace(SHORTCUT, network=Network(depth_multiplier=0.125))


@pytest.fixture
def tiny_lab() -> Lab:
    return Lab(TINY, Accelerator(cpu=True))


def network() -> models.Network:
    torch.manual_seed(0)
    return models.s3dg(2, depth_multiplier=0.125, min_depth=8)


@pytest.mark.parametrize("layer", ["2C", "3C"])
def test_frozen_features_stay_as_they_are(layer: str) -> None:
    reader = FlowReader(network(), layer, fine_tune=False, widths=(8, 8)).train()
    learning = [name for name, p in reader.named_parameters() if p.requires_grad]
    assert learning
    assert all(name.startswith("decoder.") for name in learning)
    before = {name: value.clone() for name, value in reader.features.state_dict().items()}
    reader(torch.randn(1, 3, 8, 32, 32)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in reader.features.state_dict().items())


def test_fine_tuning_trains_the_network_up_to_the_layer() -> None:
    reader = FlowReader(network(), "3C", fine_tune=True, widths=(8, 8)).train()
    reader(torch.randn(2, 3, 8, 32, 32)).square().sum().backward()
    learning = {name for name, p in reader.named_parameters() if p.requires_grad}
    assert learning == {name for name, p in reader.named_parameters() if p.grad is not None}
    assert any("mixed_3c" in name for name in learning)
    assert any("conv_1a" in name for name in learning)
    assert not any("mixed_4b" in name or "head" in name for name in learning)
    assert any(name.startswith("decoder.") for name in learning)


def test_zeros_have_the_layers_size() -> None:
    assert Zeros(TINY, "3A")(torch.zeros(2, 3, 16, 64, 64)).shape == (2, 3, 8, 8, 8)
    assert Zeros(TINY, "4C")(torch.zeros(2, 3, 16, 64, 64)).shape == (2, 3, 4, 4, 4)


def test_the_decoders_schedule() -> None:
    published = decoding.schedule(PAPER)
    differ = {"steps": 100_000, "batch_size": 12, "clip_norm": decoding.CLIP_NORM}
    assert published == dataclasses.replace(PAPER.optimizer, **differ)  # otherwise as the network
    assert (published.name, published.momentum, published.weight_decay) == ("sgd", 0.9, 1e-7)
    assert learning_rate(published)(0) == pytest.approx(0.1 * 12 / 336)
    pocket = decoding.schedule(SHORTCUT)
    assert (pocket.name, pocket.steps, pocket.batch_size) == ("adamw", 286, 12)
    assert learning_rate(pocket)(100) == pytest.approx(SHORTCUT.optimizer.lr)


def test_the_decoders_batch_is_that_of_the_paper_on_any_number_of_gpus(
    lab: Lab, trainings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    fit = decoding.fit
    monkeypatch.setattr(
        decoding, "fit", lambda one, accelerator: batches.append(one.optimizer) or fit(one, accelerator)
    )
    for count in (1, 8):
        monkeypatch.setattr(Accelerator, "num_processes", property(lambda self, count=count: count))
        decoding.trained(Features(RGB), lab, 0)
    assert batches == [decoding.schedule(lab.config)]  # the second run finds what the first has trained


def test_the_error_is_the_mean_over_all_clips(monkeypatch: pytest.MonkeyPatch, tiny_lab: Lab) -> None:
    """13 clips, which no batch divides, whose flow is (k, 0) pixels everywhere: zeros err by k."""
    bound = TINY.input.flow_bound
    items = []
    for k in range(13):
        moving = torch.zeros(2, 16, 64, 64)
        moving[0] = (k % 5) / bound
        items.append({"rgb": torch.zeros(3, 16, 64, 64), "flow": moving, "label": 0})
    monkeypatch.setattr(decoding, "test_windows", lambda lab: items)
    measured = decoding.measure(Row("All zeros", (Features(None),)), tiny_lab, 0)
    assert measured.value == pytest.approx(sum(k % 5 for k in range(13)) / 13)
    assert measured.steps == 0


@pytest.mark.parametrize(("layer", "steps"), [("3A", 8), ("4C", 4)])
def test_step_k_of_a_layer_is_paired_with_its_frame(layer: str, steps: int, tiny_lab: Lab) -> None:
    moving = torch.zeros(1, 2, 16, 64, 64)
    moving[:, 0] = (torch.arange(16) / 16)[:, None, None]  # u of frame t is t / 16 of the bound
    batch = {"rgb": torch.zeros(1, 3, 16, 64, 64), "flow": moving}
    _, target = decoding.predictions(Zeros(TINY, layer), "rgb", batch, tiny_lab)
    u = flow.im2flow_decode(target.transpose(1, 2))[0, :, 0, 0, 0]
    assert u.tolist() == pytest.approx([5.0 * k * (16 // steps) / 16 for k in range(steps)])


@pytest.fixture
def lab(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The tiny clips, on which every method is an untrained network."""
    setup = config(clips, tmp_path, "--network.depth-multiplier", "0.125", "--network.fast-start")
    path, found = tmp_path / "network.safetensors", network()
    models.checkpoints.save(found, path, classes=["horizontal", "spin"], input_spec={"stream": "rgb"})
    read = lambda *_: Trained(path, models.checkpoints.load(path)[0], "rgb")  # noqa: E731
    monkeypatch.setattr(Lab, "train", read)
    return Lab(setup, Accelerator(cpu=True))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the trainings of readers, which end one above where they start."""
    names = []

    def fit(training, accelerator):
        names.append(training.name)
        training.model.load_state_dict({name: value + 1 for name, value in training.model.state_dict().items()})

    monkeypatch.setattr(decoding, "fit", fit)
    monkeypatch.setattr(decoding, "_error", lambda reader, *_: float(reader.decoder.predict.weight.detach().sum()))
    return names


def test_an_equal_reader_is_never_trained_twice(lab: Lab, trainings: list[str]) -> None:
    row = Row("S3D-G", (Features(RGB),))
    first = decoding.measure(row, lab, 0)
    assert decoding.measure(row, lab, 0) == first
    assert trainings == ["flow from S3D-G RGB at 3A, seed 0"]
    decoding.measure(row, lab, 1)
    for changed in ({"layer": "3C"}, {"fine_tune": True}):
        decoding.measure(Row("other", (dataclasses.replace(row.of[0], **changed),)), lab, 0)
    shorter = dataclasses.replace(lab.config.optimizer, steps=3)
    decoding.measure(row, Lab(dataclasses.replace(lab.config, optimizer=shorter), lab.accelerator), 0)
    assert len(trainings) == 5
    assert len(list(lab.config.work_dir.glob("decoders/*/error.json"))) == 5


def test_an_error_is_computed_once(lab: Lab, trainings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("S3D-G", (Features(RGB),))
    first = decoding.measure(row, lab, 0)
    assert first.steps == decoding.schedule(lab.config).steps == 4
    monkeypatch.setattr(decoding, "_error", lambda *_: pytest.fail("computed again"))
    assert decoding.measure(row, lab, 0) == first


def test_a_reader_is_read_back_as_it_was(lab: Lab, trainings: list[str]) -> None:
    written = decoding.trained(Features(RGB), lab, 0)
    read = decoding.trained(Features(RGB), lab, 0)
    assert (read.stream, read.folder) == ("rgb", written.folder)
    assert len(trainings) == 1
    state = read.module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in written.module.state_dict().items())


@pytest.mark.parametrize("fine_tune", [False, True])
def test_a_reader_learns_from_the_stored_flow(lab: Lab, fine_tune: bool) -> None:
    reader = decoding.trained(Features(D3D, fine_tune=fine_tune), lab, 0)
    rows = StepLog.read(reader.folder / "log.jsonl")
    assert [sorted(row) for row in rows] == [["flow", "step"]] * 4
    settings = json.loads((reader.folder / "settings.json").read_text())
    assert settings["widths"] == [16, 16, 12, 8, 8]
    assert settings["optimizer"]["name"] == "adamw"
    assert list((lab.config.work_dir / "flow").rglob("*.flow.json"))
    before = network().state_dict()
    moved = {
        name.split("model.")[-1]
        for name, value in load_file(reader.folder / "reader.safetensors").items()
        if name.startswith("features.") and not value.equal(before[name.split("model.")[-1]])
    }
    assert bool(moved) == fine_tune
    momenta = {module.momentum for module in reader.module.features.modules() if hasattr(module, "momentum")}
    assert momenta == ({0.1} if fine_tune else {0.001})


def test_a_loss_that_is_not_finite_is_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    nan = lambda config, predicted, flow: predicted.sum() * float("nan")  # noqa: E731
    monkeypatch.setattr(decoding, "flow_loss", nan)
    with pytest.raises(FloatingPointError, match=r"losses must be finite, got \{'flow': nan\} at step 0"):
        decoding.trained(Features(RGB), lab, 0)
