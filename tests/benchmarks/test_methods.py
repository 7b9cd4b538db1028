"""The methods of the tables: what they are made of, and that none shares a training with another."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.paper import methods, train_method
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import CNN_FLOW, D3D, D3D_SPATIAL, FLOW, FLOW_LOSS, METHODS, RGB, Method
from benchmarks.paper.trained_networks import Trained
from examples.d3d.training import make_accelerator
from kdvideo import models
from tests.examples.tiny import CLASSES, config, inside

CACHE = {"flow_from": "cache"}
TWO = {"distinct_views": 2}


def test_the_table_7_and_mars_students_learn_from_the_same_temporal_stream() -> None:
    assert {one.teacher for one in METHODS.values()} == {None, FLOW, RGB}
    assert [name for name, one in METHODS.items() if one.teacher == RGB] == ["D3D_SPATIAL"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"teacher": FLOW, "flow_loss_weight": 1.0},
        {"predicted_flow": True, "stream": "flow"},
        {"predicted_flow": True, "backbone": "i3d"},
        {"predicted_flow": True, "layer": "4C"},
        {"action": False},
        {"action": False, "teacher": FLOW},
    ],
)
def test_what_no_training_could_do_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="odd: "):
        Method("odd", **wrong)


@pytest.fixture
def folder_of(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """(method, start, **changed settings) -> the folder of the training, which is not done."""
    setup = config(clips, tmp_path, "--network.depth-multiplier", "0.125")
    network = models.s3dg(len(CLASSES), depth_multiplier=0.125)

    def untrained(path: Path, clips: object, *, stream: str) -> Trained:
        return Trained(path, network, stream)

    monkeypatch.setattr("benchmarks.paper.trained_networks.load", untrained)
    monkeypatch.setattr("benchmarks.paper.trained_networks.save", lambda *_: None)
    monkeypatch.setattr("benchmarks.paper.trained_networks.start", lambda *_: network)
    monkeypatch.setattr("benchmarks.paper.terms.student", lambda *_: network)
    untaught = SimpleNamespace(target=None, views=None, on_device=None)
    monkeypatch.setattr(Lab, "_teaching", lambda *_: untaught)
    finished = SimpleNamespace(remove=lambda: network)
    monkeypatch.setattr("benchmarks.paper.lab.fit", lambda training, accelerator: finished)

    def folder(method: Method, seed: int = 0, start: Trained | None = None, **changes: object) -> Path:
        one = dataclasses.replace(setup, **changes)
        return Lab(one, make_accelerator(one)).train(method, seed, start=start).path.parent

    return folder


def recorded(folder: Path) -> dict[str, object]:
    return json.loads((folder / "settings.json").read_text())


def test_every_method_has_a_folder_of_its_own_whatever_its_name(folder_of) -> None:
    assert len({folder_of(method) for method in METHODS.values()}) == len(METHODS)
    assert folder_of(dataclasses.replace(D3D, name="other")) == folder_of(D3D)
    assert folder_of(D3D, seed=1) != folder_of(D3D)
    stronger = folder_of(D3D, distill_weight=2.0)
    assert stronger == folder_of(dataclasses.replace(D3D, distill_weight=2.0)) != folder_of(D3D)
    start = Trained(Path("x"), models.s3dg(2, depth_multiplier=0.125), "rgb")
    assert folder_of(RGB, start=start) != folder_of(RGB)


def test_what_decides_a_training_names_its_folder(folder_of) -> None:
    online, frames = {"flow_from": "online"}, {**CACHE, "cache_flow": "online"}
    ways = [{}, online, CACHE, frames, TWO, CACHE | TWO]
    assert len({folder_of(D3D, **way) for way in ways}) == len(ways)
    assert len({folder_of(RGB, **way) for way in ways}) == 1
    assert len({folder_of(FLOW, **way) for way in ways}) == 2  # from a store, online
    assert len({folder_of(FLOW_LOSS, **way) for way in ways}) == 2
    for method in (RGB, CNN_FLOW, D3D_SPATIAL):  # no flow decides how they end
        assert folder_of(method, flow_preset="fast") == folder_of(method)
    for method in (FLOW, FLOW_LOSS, D3D):
        assert folder_of(method, flow_preset="fast") != folder_of(method)
    assert folder_of(D3D_SPATIAL, **frames) == folder_of(D3D_SPATIAL, **CACHE) != folder_of(D3D_SPATIAL)
    assert "cache_flow" not in recorded(folder_of(D3D_SPATIAL, **frames))
    setup = recorded(folder_of(D3D))
    assert {"test_views", "flow"} & set(setup["input"]) == set()
    assert folder_of(D3D, num_workers=3, with_tracking=True, checkpointing_steps=1) == folder_of(D3D)
    assert folder_of(D3D, class_reduction="sum") != folder_of(D3D)
    assert folder_of(RGB, class_reduction="sum") == folder_of(RGB)


def test_a_command_names_its_method(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        inside(train_method.main, clips, tmp_path, "--method", "D4D")
    said = f"{stop.value.code} {capsys.readouterr().err}"
    assert all(name in said for name in ("D4D", *METHODS))
    inside(train_method.main, clips, tmp_path, "--method", "I3D_RGB", "--optimizer.steps", "1")
    (folder,) = tmp_path.glob("trained/*")
    assert recorded(folder)["method"]["backbone"] == "i3d"
    printed = capsys.readouterr().out
    assert re.search(rf"I3D RGB, seed 0: top-1 [01]\.\d+, {folder / 'model.safetensors'}", printed)
    assert methods.named("D3D_4C") is methods.D3D_4C
