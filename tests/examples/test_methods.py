"""The methods of the tables: what they are made of, and that none shares a run with another."""

import dataclasses
from pathlib import Path

import pytest
from examples.d3d.clips import manifests
from examples.d3d.methods import CNN_FLOW, D3D, D3D_SPATIAL, FLOW, METHODS, RGB, Method
from examples.d3d.runs import Run
from examples.d3d.train import make_accelerator

from examples.d3d import methods, train_student
from tests.examples.tiny import config, inside


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


def test_every_method_has_runs_of_its_own_and_only_the_new_ones_new_settings(clips: Path, tmp_path: Path) -> None:
    setup, weights = config(clips, tmp_path), next(clips.rglob("*.mp4"))
    accelerator, (train, _) = make_accelerator(setup), manifests(setup)

    def run(method: Method, **more: object) -> Run:
        taught_by = weights if method.teacher else None
        one = dataclasses.replace(setup, **more)
        return Run(one, accelerator, method.stream, 0, train, taught_by, method=method)

    assert len({run(method).key for method in METHODS.values()}) == len(METHODS)
    names = [set(run(method).settings) for method in (RGB, FLOW, D3D)]
    assert names[0] == names[1] == names[2] < set(run(D3D_SPATIAL).settings)
    assert run(dataclasses.replace(D3D, name="other")).key == run(D3D).key
    assert run(RGB, init_from=weights).key != run(RGB).key
    for method in (RGB, CNN_FLOW, D3D_SPATIAL):  # no flow decides how they end
        assert run(method, flow_preset="fast").key == run(method).key
    assert run(D3D_SPATIAL, flow_from="cache", cache_flow="online").settings["cache_flow"] is None


def test_a_command_names_its_method(clips: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        inside(train_student.main, clips, tmp_path, "--method", "D4D")
    said = f"{stop.value.code} {capsys.readouterr().err}"
    assert all(name in said for name in ("D4D", *METHODS))
    inside(train_student.main, clips, tmp_path, "--method", "I3D_RGB", "--optimizer.steps", "1")
    (settings,) = tmp_path.glob("trained/*/settings.json")
    assert '"backbone": "i3d"' in settings.read_text()
    assert methods.named("D3D_4C") is methods.D3D_4C
