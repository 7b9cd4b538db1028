"""Reading flow from features, without training anything."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from benchmarks.paper.tables.decoder_training import Training
from benchmarks.paper.tables.decoding import Features
from benchmarks.paper.tables.flow_reader import FlowReader, Zeros

from benchmarks.paper.tables import decoder_training, decoding
from benchmarks.paper.tables.table import Row
from examples.d3d.config import PAPER, POCKET, Network
from kdvideo import flow, models

TINY = dataclasses.replace(POCKET, network=Network(depth_multiplier=0.125))


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


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
    published = decoding.optimizer(PAPER)
    assert (published.steps, published.batch_size, published.name) == (100_000, 12, "adamw")
    assert published.lr == published.lr * published.batch_size / published.reference_batch == 1e-3
    pocket = decoding.optimizer(POCKET)
    assert (pocket.steps, pocket.batch_size, pocket.lr) == (286, 12, POCKET.optimizer.lr)


def test_the_error_is_the_mean_over_all_clips(monkeypatch: pytest.MonkeyPatch, accelerator: Accelerator) -> None:
    """13 clips, which no batch divides, whose flow is (k, 0) pixels everywhere: zeros err by k."""
    bound = TINY.input.flow_bound
    items = []
    for k in range(13):
        moving = torch.zeros(2, 16, 64, 64)
        moving[0] = (k % 5) / bound
        items.append({"rgb": torch.zeros(3, 16, 64, 64), "flow": moving, "label": 0})
    monkeypatch.setattr(decoding, "test_views", lambda config, accelerator: items)
    measured = decoding.measure(Row("All zeros", (Features(None),)), TINY, 0, accelerator)
    assert measured.value == pytest.approx(sum(k % 5 for k in range(13)) / 13)
    assert measured.steps == 0


@pytest.mark.parametrize(("layer", "steps"), [("3A", 8), ("4C", 4)])
def test_step_k_of_a_layer_is_paired_with_its_frame(layer: str, steps: int, accelerator: Accelerator) -> None:
    moving = torch.zeros(1, 2, 16, 64, 64)
    moving[:, 0] = (torch.arange(16) / 16)[:, None, None]  # u of frame t is t / 16 of the bound
    batch = {"rgb": torch.zeros(1, 3, 16, 64, 64), "flow": moving}
    _, target = decoding.predictions(Zeros(TINY, layer), "rgb", batch, TINY, accelerator)
    u = flow.im2flow_decode(target.transpose(1, 2))[0, :, 0, 0, 0]
    assert u.tolist() == pytest.approx([5.0 * k * (16 // steps) / 16 for k in range(steps)])


class Trained:
    """Counts the trainings of readers, which end as they start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.count = 0
        weights = folder / "network.safetensors"
        if not weights.exists():
            models.checkpoints.save(network(), weights, classes=["a", "b"], input_spec={"stream": "rgb"})
        manifest = SimpleNamespace(name="clips")
        monkeypatch.setattr(decoding, "train_method", lambda *_: weights)
        monkeypatch.setattr(decoding.clips, "manifests", lambda config: (manifest, manifest))
        monkeypatch.setattr(decoding.clips, "fingerprint", lambda manifest: manifest.name)
        monkeypatch.setattr(decoding, "_error", lambda reader, *_: float(reader.decoder.predict.weight.detach().sum()))
        monkeypatch.setattr(decoding, "Training", self.training)

    def training(self, reader, *_):
        self.count += 1
        return SimpleNamespace(run=reader.state_dict)


def test_an_equal_reader_is_never_trained_twice(tmp_path: Path, monkeypatch, accelerator: Accelerator) -> None:
    trained = Trained(monkeypatch, tmp_path)
    config = dataclasses.replace(TINY, work_dir=tmp_path)
    row = Row("S3D-G", (Features(decoding.Method("S3D-G RGB")),))
    first = decoding.measure(row, config, 0, accelerator)
    assert decoding.measure(row, config, 0, accelerator) == first
    assert trained.count == 1
    decoding.measure(row, config, 1, accelerator)
    for changed in ({"layer": "3C"}, {"fine_tune": True}):
        other = Row("other", (dataclasses.replace(row.of[0], **changed),))
        decoding.measure(other, config, 0, accelerator)
    shorter = dataclasses.replace(config.optimizer, steps=10)
    decoding.measure(row, dataclasses.replace(config, optimizer=shorter), 0, accelerator)
    assert trained.count == 5


def test_a_reader_is_read_back_as_it_was(tmp_path: Path, monkeypatch, accelerator: Accelerator) -> None:
    Trained(monkeypatch, tmp_path)
    config, features = dataclasses.replace(TINY, work_dir=tmp_path), Features(decoding.Method("S3D-G RGB"))

    def training(reader, *_):
        return SimpleNamespace(run=lambda: {name: value + 1 for name, value in reader.state_dict().items()})

    monkeypatch.setattr(decoding, "Training", training)
    written, _, _ = decoding.trained(features, config, 0, accelerator)
    read, stream, _ = decoding.trained(features, config, 0, accelerator)
    assert stream == "rgb"
    assert all(torch.equal(value, read.state_dict()[name]) for name, value in written.state_dict().items())


@pytest.fixture
def same_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches, and plain SGD instead of AdamW, which hides a factor."""
    generator = torch.Generator().manual_seed(1)
    batch = {"rgb": torch.randn(2, 3, 16, 32, 32, generator=generator), "flow": torch.rand(2, 2, 16, 32, 32)}
    monkeypatch.setattr(Training, "batches", lambda self, first: [batch] * (2 - first))
    sgd = lambda module, _: torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9)  # noqa: E731
    monkeypatch.setattr(decoder_training, "make_optimizer", sgd)


def training(folder: Path, accelerator: Accelerator, **changes: Any) -> Training:
    torch.manual_seed(0)
    reader = FlowReader(network(), "3A", fine_tune=False, widths=(8, 8))
    schedule = dataclasses.replace(TINY.optimizer, steps=2)
    config = dataclasses.replace(TINY, **changes)
    return Training(reader, "rgb", config, schedule, 0, accelerator, folder, "x")


def test_accumulation_of_the_recipe_does_not_shrink_the_gradient(tmp_path: Path, same_batch) -> None:
    changes = []
    for parts in (1, 4):
        one = training(tmp_path / str(parts), Accelerator(cpu=True, gradient_accumulation_steps=parts))
        before = one.reader.decoder.predict.weight.detach().clone()
        changes.append(float((one.run()["decoder.predict.weight"] - before).norm()))
    assert changes[0] > 0
    assert changes[1] == pytest.approx(changes[0], rel=1e-2)


def test_a_stopped_training_ends_as_one_that_was_not(tmp_path: Path, same_batch, accelerator) -> None:
    whole = training(tmp_path / "whole", accelerator).run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_training, "any_process", lambda *_: True)
        with pytest.raises(SystemExit, match="143"):
            training(tmp_path / "stopped", accelerator).run()
    again = training(tmp_path / "stopped", accelerator).run()
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path, same_batch, monkeypatch, accelerator) -> None:
    monkeypatch.setattr(decoder_training, "flow_loss", lambda *_: torch.tensor(float("nan")))
    with pytest.raises(FloatingPointError, match="x: loss nan at step 0"):
        training(tmp_path, accelerator).run()
