"""Golden activations from TF-slim, the checkpoint reader's errors, and the student file."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kdvideo import models
from kdvideo.models import checkpoints
from kdvideo.models.tf_slim import _slim_name

ENDPOINTS = {
    "Conv2d_1a_7x7": "1A",
    "Conv2d_2c_3x3": "2C",
    "Mixed_3b": "3B",
    "MaxPool_4a_3x3": "4A",
    "Mixed_4f": "4F",
    "Mixed_5c": "5C",
}


def quarter(**kwargs):
    return models.s3dg(11, depth_multiplier=0.25, **kwargs)


@pytest.mark.parametrize(
    ("folder", "case", "channels", "count"),
    [("s3dg_small", 0, 3, 7), ("s3dg_small", 1, 3, 7), ("s3dg_flow_small", 0, 2, 2)],
)
def test_golden_activations(shared, folder, case, channels, count):
    path = shared / "golden" / "s3dg_slim" / folder
    model = quarter(in_channels=channels).eval()
    model.load_state_dict(checkpoints.from_tf_slim(checkpoints.read_tf(path / "model.ckpt"), model))
    outputs = {}
    for endpoint, layer in ENDPOINTS.items():
        module = model.get_submodule(model.layer_names[layer])
        module.register_forward_hook(lambda _, __, out, key=endpoint: outputs.update({key: out}))
    golden = np.load(path / "activations.npz")
    with torch.no_grad():
        clip = torch.from_numpy(golden[f"case{case}/input"]).permute(0, 4, 1, 2, 3)
        outputs["Logits"] = model(clip)
    names = [k.split("/")[1] for k in golden if k.startswith(f"case{case}/") and not k.endswith("input")]
    assert len(names) == count
    for name in names:
        expected = torch.from_numpy(golden[f"case{case}/{name}"])
        got = outputs[name].movedim(1, -1)
        assert got.shape == expected.shape
        assert (got - expected).norm() <= 1e-4 * expected.norm(), name


def variables_of(model, scope="InceptionV1"):
    """TF-slim variables with a model's values, as numpy arrays in TensorFlow's layout."""
    variables = {}
    for key, value in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            value = value.reshape(*value.shape, 1, 1, 1) if value.ndim == 2 else value
            value = value.permute(2, 3, 4, 1, 0) if value.ndim == 5 else value
            variables[f"{scope}/{_slim_name(key)}"] = value.numpy().copy()
    return variables


@pytest.fixture(scope="module")
def pair():
    """A model with random statistics too, and its variables."""
    torch.manual_seed(0)
    model = quarter(in_channels=2)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.uniform_(-1, 1)
    return model, variables_of(model)


def test_slim_names(pair):
    _, variables = pair
    shapes = {
        "InceptionV1/Conv2d_1a_7x7/weights": (3, 7, 7, 2, 16),
        "InceptionV1/Conv2d_2c_3x3/temporal/biases": (48,),
        "InceptionV1/Conv2d_2c_3x3/self_gating/transformer_W/weights": (1, 1, 1, 48, 48),
        "InceptionV1/Mixed_3b/Branch_0/Conv2d_0a_1x1/self_gating/transformer_W/weights": (1, 1, 1, 16, 16),
        "InceptionV1/Mixed_5c/Branch_1/Conv2d_0b_3x3/BatchNorm/moving_variance": (96,),
        "InceptionV1/Mixed_5c/Branch_3/Conv2d_0b_1x1/BatchNorm/beta": (32,),
        "InceptionV1/Logits/Conv2d_0c_1x1/weights": (1, 1, 1, 256, 11),
    }
    assert {name: variables[name].shape for name in shapes} == shapes
    assert len(variables) == 305


def test_from_tf_slim_is_complete_and_pure(pair):
    source, variables = pair
    model = quarter(in_channels=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = checkpoints.from_tf_slim(variables, model)
    for key, value in source.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    state["conv_1a.conv.weight"].zero_()
    assert variables["InceptionV1/Conv2d_1a_7x7/weights"].any()


def test_from_tf_slim_lists_every_problem(pair):
    _, variables = pair
    beta, weights = "InceptionV1/Conv2d_1a_7x7/BatchNorm/beta", "InceptionV1/Conv2d_2b_1x1/weights"
    broken = {**variables, "global_step": np.array(3), weights: variables[weights][..., :5]}
    del broken[beta]
    with pytest.raises(ValueError) as error:
        checkpoints.from_tf_slim(broken, quarter(in_channels=2))
    for words in ("in 3 places", f"missing {beta}", "unexpected global_step", f"{weights} gives (5, 16, 1, 1, 1)"):
        assert words in str(error.value)


@pytest.fixture
def checkpoint(shared, tmp_path):
    """A writable copy of a TF checkpoint."""
    for file in (shared / "golden" / "s3dg_slim" / "s3dg_flow_small").glob("model.ckpt.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / "model.ckpt"


@pytest.mark.parametrize("keep", [0, 20, 47, 5000, -1])
def test_truncated_index(checkpoint, keep):
    index = checkpoint.with_name("model.ckpt.index")
    index.write_bytes(index.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.ckpt\.index: .*(truncated|damaged)"):
        checkpoints.read_tf(checkpoint)


def test_damaged_index(checkpoint):
    index = checkpoint.with_name("model.ckpt.index")
    data = bytearray(index.read_bytes())
    for position in (3, 700, 2500, len(data) - 60):
        damaged = data.copy()
        damaged[position] ^= 4
        index.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.ckpt\.index"):
            checkpoints.read_tf(checkpoint)


def test_truncated_and_missing_data(checkpoint):
    data = checkpoint.with_name("model.ckpt.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ValueError, match="too short for InceptionV1"):
        checkpoints.read_tf(checkpoint)
    data.unlink()
    with pytest.raises(FileNotFoundError, match="data-00000-of-00001"):
        checkpoints.read_tf(checkpoint)


def test_foreign_index(tmp_path):
    (tmp_path / "a.index").write_bytes(b"not a table" * 20)
    with pytest.raises(ValueError, match=r"a\.index: not a TensorFlow checkpoint"):
        checkpoints.read_tf(tmp_path / "a")


INPUT = {"frames": 16, "fps": 12.5, "size": 64, "range": [-1.0, 1.0], "modality": "rgb"}


def student(**kwargs):
    return models.s3dg(3, depth_multiplier=0.125, min_depth=8, **kwargs)


def test_student_file_round_trip(tmp_path):
    model = student(non_local=("4C",), input_range=(0.0, 1.0)).to(memory_format=torch.channels_last_3d)
    path = tmp_path / "student.safetensors"
    checkpoints.save(model, path, classes=["a", "b", "c"], input=INPUT, extra={"commit": "abc"})
    state = torch.get_rng_state()
    loaded, info = checkpoints.load(path)
    assert torch.equal(state, torch.get_rng_state())
    assert info == {"config": info["config"], "classes": ["a", "b", "c"], "input": INPUT, "commit": "abc"}
    assert not loaded.training
    assert loaded.config == model.config
    assert loaded.input_spec.range == (0.0, 1.0)
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clip), model.eval()(clip), rtol=0, atol=0)
    assert all(p.requires_grad for p in loaded.parameters())
    bare = student(non_local=("4C",))
    bare.load_state_dict(load_file(path), strict=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["student.safetensors"]


def test_save_refuses(tmp_path):
    path = tmp_path / "student.safetensors"
    with pytest.raises(ValueError, match="2 class names for 3 classes"):
        checkpoints.save(student(), path, classes=["a", "b"], input=INPUT)
    with pytest.raises(ValueError, match="Linear has no config"):
        checkpoints.save(torch.nn.Linear(1, 1), path, classes=[], input=INPUT)
    with pytest.raises(ValueError, match="JSON"):
        checkpoints.save(student(), path, classes=["a", "b", "c"], input={"size": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "student.safetensors"
    path.write_bytes(b"old")

    def fail(tensors, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save_file", fail)
    with pytest.raises(OSError, match="no space"):
        checkpoints.save(student(), path, classes=["a", "b", "c"], input=INPUT)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_load_refuses(tmp_path):
    path = tmp_path / "student.safetensors"
    with pytest.raises(FileNotFoundError, match="no such file"):
        checkpoints.load(path)
    checkpoints.save(student(), path, classes=["a", "b", "c"], input=INPUT)
    whole, tensors = path.read_bytes(), {k: v.clone() for k, v in load_file(path).items()}
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        checkpoints.load(path)
    path.write_bytes(b"garbage")
    with pytest.raises(ValueError, match="not a safetensors file"):
        checkpoints.load(path)
    save_file(tensors, path)
    with pytest.raises(ValueError, match="no usable kdvideo description"):
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
