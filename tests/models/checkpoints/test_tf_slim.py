"""TF-slim's names, and golden activations that its code computed."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kdvideo import models
from kdvideo.models import checkpoints
from kdvideo.models.checkpoints.tf_slim import slim_name
from tests.models.checkpoints.reference import SMALL, randomise

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
    model, info = checkpoints.load(path / "model.ckpt")
    input_range = (0.0, 1.0) if channels == 3 else (-1.0, 1.0)
    assert model.config == quarter(in_channels=channels, input_range=input_range).config
    assert (info["format"], info["classes"]) == ("TF-slim S3D-G or I3D", None)
    assert info["input"]["range"] == list(model.input_spec.value_range) == list(input_range)
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


@pytest.mark.parametrize("folder", ["s3dg_small", "s3dg_flow_small"])
def test_golden_weights_keep_every_bit(shared, folder, tmp_path):
    path = shared / "golden" / "s3dg_slim" / folder
    variables = checkpoints.read_tf(path / "model.ckpt")
    model, info = checkpoints.load(path)
    checkpoints.save(model, tmp_path / "a.safetensors", classes=[*"abcdefghijk"], input_spec=info["input"])
    torch.save({"model": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "a.pth.tar")
    save_file({f"tower/{name.partition('/')[2]}": value for name, value in variables.items()}, tmp_path / "tf")
    copies = {name: checkpoints.load(tmp_path / name) for name in ("a.safetensors", "a.pth.tar", "tf")}
    assert [info["format"] for _, info in copies.values()] == ["kdvideo", "kdvideo", "TF-slim S3D-G or I3D"]
    stem = variables["InceptionV1/Conv2d_1a_7x7/weights"].permute(4, 3, 0, 1, 2)
    gate = variables["InceptionV1/Mixed_4f/Branch_3/Conv2d_0b_1x1/self_gating/transformer_W/weights"][0, 0, 0].T
    for copy, _ in copies.values():
        assert torch.equal(copy.conv_1a.conv.weight, stem)
        assert torch.equal(copy.mixed_4f.branch_3.gate.linear.weight, gate)
        assert all(torch.equal(value, copy.state_dict()[key]) for key, value in model.state_dict().items())
    assert copies["tf"][0].config == model.config


def variables_of(model, scope="InceptionV1"):
    """TF-slim variables with a model's values, as numpy arrays in TensorFlow's layout."""
    variables = {}
    for key, value in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            value = value.reshape(*value.shape, 1, 1, 1) if value.ndim == 2 else value
            value = value.permute(2, 3, 4, 1, 0) if value.ndim == 5 else value
            variables[f"{scope}/{slim_name(key)}"] = value.numpy().copy()
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


def testslim_names(pair):
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


def test_i3d_names_and_scope(tmp_path):
    torch.manual_seed(0)
    model = models.i3d(5, bn_scale=True, **SMALL)
    randomise(model.state_dict())
    variables = variables_of(model, "a/b")
    shapes = {
        "a/b/Conv2d_1a_7x7/weights": (7, 7, 7, 3, 8),
        "a/b/Mixed_3b/Branch_2/Conv2d_0b_3x3/weights": (3, 3, 3, 8, 8),
        "a/b/Mixed_3b/Branch_2/Conv2d_0b_3x3/BatchNorm/gamma": (8,),
    }
    assert {name: variables[name].shape for name in shapes} == shapes
    wide = {k: v.reshape(1, 1, 1, 1, -1) if v.ndim == 1 and "BatchNorm" in k else v for k, v in variables.items()}
    state = checkpoints.from_tf_slim(wide, models.i3d(5, bn_scale=True, **SMALL), scope="a/b")
    for key, value in model.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(state[key], value)
    save_file({name: torch.from_numpy(value) for name, value in variables.items()}, tmp_path / "i3d")
    loaded, info = checkpoints.load(tmp_path / "i3d")
    assert (loaded.config, info["input"]["range"]) == (model.config, [-1.0, 1.0])


def test_non_local_weights_are_missing(pair):
    with pytest.raises(ValueError) as error:
        checkpoints.from_tf_slim(pair[1], quarter(in_channels=2, non_local=("4C",)))
    assert "in 12 places" in str(error.value)
    assert "missing InceptionV1/non_local_4c.conv_theta.weight" in str(error.value)


def test_separable_halves_of_s3d_have_no_name(pair):
    with pytest.raises(ValueError, match=r"missing InceptionV1/conv_2c\.conv\.temporal\.conv\.weight"):
        checkpoints.from_tf_slim(pair[1], models.s3d(11, in_channels=2, depth_multiplier=0.25))


def test_another_class_count_says_what_to_do(pair):
    with pytest.raises(ValueError) as error:
        checkpoints.from_tf_slim(pair[1], models.s3dg(5, in_channels=2, depth_multiplier=0.25))
    assert "in 2 places" in str(error.value)
    assert "the file has 11 classes, the model 5" in str(error.value)
    assert "models.resize_head" in str(error.value)


def test_a_given_model_learns_what_the_weights_see(shared):
    path = shared / "golden" / "s3dg_slim" / "s3dg_small" / "model.ckpt"
    model, info = checkpoints.load(path, models.s3dg(11, depth_multiplier=0.25))
    assert model.input_spec.value_range == model.config["input_range"] == (0.0, 1.0)
    assert info["input"]["range"] == [0.0, 1.0]
    assert checkpoints.load(path, model, input_range=(-1.0, 1.0))[0].input_spec.value_range == (-1.0, 1.0)
