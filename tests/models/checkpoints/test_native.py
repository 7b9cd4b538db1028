"""kdvideo's own file."""

import dataclasses
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kdvideo import models
from kdvideo.models import checkpoints

INPUT = {"frames": 16, "fps": 12.5, "size": 64, "range": [-1.0, 1.0], "modality": "rgb"}


def student(**kwargs):
    return models.s3dg(3, depth_multiplier=0.125, min_depth=8, **kwargs)


def test_student_file_round_trip(tmp_path):
    model = student(non_local=("4C",), input_range=(-1.0, 1.0)).to(memory_format=torch.channels_last_3d)
    path = tmp_path / "student.safetensors"
    checkpoints.save(model, path, classes=["a", "b", "c"], input_spec=INPUT, extra={"commit": "abc"})
    state = torch.get_rng_state()
    loaded, info = checkpoints.load(path)
    assert torch.equal(state, torch.get_rng_state())
    assert info == {
        "config": info["config"],
        "classes": ["a", "b", "c"],
        "input": INPUT,
        "commit": "abc",
        "format": "kdvideo",
    }
    assert not loaded.training
    assert loaded.config == model.config
    assert (loaded.input_spec.value_range, loaded.input_spec.frames) == ((-1.0, 1.0), 16)
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clip), model.eval()(clip), rtol=0, atol=0)
    assert all(p.requires_grad for p in loaded.parameters())
    bare = student(non_local=("4C",))
    bare.load_state_dict(load_file(path), strict=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["student.safetensors"]


def test_save_refuses(tmp_path):
    path = tmp_path / "student.safetensors"
    with pytest.raises(ValueError, match=r"must be 3 names, .* got 2 class names"):
        checkpoints.save(student(), path, classes=["a", "b"], input_spec=INPUT)
    with pytest.raises(ValueError, match="got Linear without config"):
        checkpoints.save(torch.nn.Linear(1, 1), path, classes=[], input_spec=INPUT)
    with pytest.raises(ValueError, match="JSON"):
        checkpoints.save(student(), path, classes=["a", "b", "c"], input_spec={"size": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "student.safetensors"
    path.write_bytes(b"old")

    def fail(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(student(), path, classes=["a", "b", "c"], input_spec=INPUT)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_load_refuses(tmp_path):
    path = tmp_path / "student.safetensors"
    with pytest.raises(FileNotFoundError, match="no such file"):
        checkpoints.load(path)
    checkpoints.save(student(), path, classes=["a", "b", "c"], input_spec=INPUT)
    whole, tensors = path.read_bytes(), {k: v.clone() for k, v in load_file(path).items()}
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        checkpoints.load(path)
    path.write_bytes(b"garbage")
    with pytest.raises(ValueError, match="not a safetensors file"):
        checkpoints.load(path)
    for broken in ("{", "[]", '{"config": 3, "classes": null, "input": {}}'):
        save_file(tensors, path, {"kdvideo": broken})
        with pytest.raises(ValueError, match=r"student\.safetensors: no usable kdvideo description"):
            checkpoints.load(path)
    description = json.loads(metadata["kdvideo"])
    description["config"]["architecture"] = "os.system"
    save_file(tensors, path, {"kdvideo": json.dumps(description)})
    with pytest.raises(ValueError, match=r"os\.system"):
        checkpoints.load(path)
    del tensors["conv_1a.conv.weight"]
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=r"conv_1a\.conv\.weight"):
        checkpoints.load(path)


def test_recorded_input_is_returned_as_it_is(tmp_path):
    checkpoints.save(student(), tmp_path / "a.safetensors", classes=["a", "b", "c"], input_spec={})
    assert checkpoints.load(tmp_path / "a.safetensors")[1]["input"] == {}


def test_no_class_names_and_a_folder(tmp_path):
    model = student(in_channels=2)
    checkpoints.save(model, tmp_path / "model.safetensors", classes=["a", "b", "c"], input_spec=INPUT)
    (tmp_path / "config.json").write_text("{}")
    loaded, info = checkpoints.load(tmp_path)
    assert (loaded.config, info["classes"]) == (model.config, ["a", "b", "c"])


def test_a_file_says_what_its_network_sees(tmp_path):
    """Adapters have no range among their arguments: only the file's ``input`` tells it."""
    model = models.pytorchvideo("x3d_xs", num_classes=2)
    spec = dataclasses.replace(model.input_spec, value_range=(-1.0, 1.0), mean=(), std=(), frames=6)
    checkpoints.save(model, tmp_path / "a", classes=["run", "jump"], input_spec=spec.to_dict())
    loaded, _ = checkpoints.load(tmp_path / "a")
    assert (loaded.input_spec, loaded.classes) == (spec, ("run", "jump"))
    filled, _ = checkpoints.load(tmp_path / "a", models.pytorchvideo("x3d_xs", num_classes=2))
    assert filled.input_spec == spec
    cut = {"frames": 8, "crop": 64, "stream": "rgb"}
    checkpoints.save(model, tmp_path / "b", classes=["run", "jump"], input_spec=cut)
    recipe = checkpoints.load(tmp_path / "b")[0].input_spec
    assert recipe == dataclasses.replace(model.input_spec, frames=8, size=64)


def test_a_compiled_network_is_saved_under_its_own_names(tmp_path):
    model = student().eval()
    checkpoints.save(torch.compile(model, backend="eager"), tmp_path / "a", classes=["a", "b", "c"], input_spec=INPUT)
    loaded, _ = checkpoints.load(tmp_path / "a")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"input_spec": {"mean": 0.45}}, "tuple of numbers"),
        ({"classes": "abc"}, "must be 3 names, .* got 'abc'"),
        ({"extra": {"format": "v1"}}, "format"),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        checkpoints.save(student(), tmp_path / "a", **{"classes": ["a", "b", "c"], "input_spec": INPUT, **change})
    assert list(tmp_path.iterdir()) == []


def rewrite(path, **change):
    """The file with another description."""
    with safe_open(path, "pt") as file:
        description = json.loads(file.metadata()["kdvideo"])
    save_file(load_file(path), path, {"kdvideo": json.dumps({**description, **change})})


def test_a_file_that_is_refused_leaves_the_model_alone(tmp_path):
    path, model = tmp_path / "a", student()
    checkpoints.save(student(), path, classes=["a", "b", "c"], input_spec=INPUT)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for change, words in (({"input": {"mean": 0.45}}, "tuple of numbers"), ({"classes": ["a"]}, "1 class names")):
        rewrite(path, **change)
        with pytest.raises(ValueError, match=words):
            checkpoints.load(path, model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_file_does_not_make_other_files_be_read(tmp_path):
    path = tmp_path / "a"
    checkpoints.save(student(), path, classes=["a", "b", "c"], input_spec=INPUT)
    timm = {"architecture": "timm", "name": "resnet18", "num_classes": 3, "in_channels": 3}
    for key in ("pretrained", "checkpoint_path", "weights", "pretrained_cfg_overlay"):
        rewrite(path, config={**timm, key: "other.pth"})
        with pytest.raises(ValueError, match=f"asks for .*{key}"):
            checkpoints.load(path)


def test_range_in_file_and_configuration_agree(tmp_path):
    checkpoints.save(student(), tmp_path / "a", classes=["a", "b", "c"], input_spec={"range": [0, 1]})
    loaded, _ = checkpoints.load(tmp_path / "a")
    assert loaded.input_spec.value_range == loaded.config["input_range"] == (0, 1)
    assert models.resize_head(loaded, 2).input_spec == loaded.input_spec
