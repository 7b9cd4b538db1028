"""pytorchvideo's names in our wrapper."""

import pytest
import torch
from pytorchvideo.models import hub

from kdvideo import models
from kdvideo.models import checkpoints
from tests.models.checkpoints.reference import assert_close, assert_equal_states, randomise


@pytest.fixture(scope="module")
def original():
    network = hub.x3d_xs(pretrained=False, model_num_class=5).eval()
    randomise(network.state_dict())
    network.blocks[-1].activation = None
    return network


@pytest.fixture
def file(original, tmp_path):
    content = {"model_state": original.state_dict(), "cfg": "TRAIN: {}", "epoch": 300, "optimizer_state": {}}
    torch.save(content, tmp_path / "X3D_XS.pyth")
    return tmp_path / "X3D_XS.pyth"


def test_published_file(original, file):
    model = models.pytorchvideo("x3d_xs", num_classes=5).train()
    loaded, info = checkpoints.load(file, model)
    assert loaded is model
    assert model.training
    assert (info["format"], info["config"], info["classes"]) == ("pytorchvideo", model.config, None)
    assert (info["input"]["range"], info["input"]["mean"]) == ([0.0, 1.0], [0.45, 0.45, 0.45])
    assert_equal_states(model.state_dict(), original.state_dict())
    clip = torch.rand(1, 3, 4, 160, 160)
    with torch.no_grad():
        assert_close(model.eval()(clip), original(clip))
    state = checkpoints.from_pytorchvideo({f"module.{k}": v for k, v in original.state_dict().items()}, model)
    assert_equal_states(state, original.state_dict())


def test_our_own_state_dict(original, tmp_path):
    model = models.pytorchvideo("x3d_xs", num_classes=5)
    torch.save({f"module.network.{k}": v for k, v in original.state_dict().items()}, tmp_path / "a.pt")
    checkpoints.load(tmp_path / "a.pt", model)
    assert_equal_states(model.state_dict(), original.state_dict())


def test_names_that_no_layout_knows(tmp_path):
    source, model = (models.pytorchvideo("efficient_x3d_xs", num_classes=5) for _ in range(2))
    torch.save({"state_dict": source.network.state_dict()}, tmp_path / "a.pt")
    assert checkpoints.load(tmp_path / "a.pt", model)[1]["format"] == "pytorchvideo"
    assert_equal_states(model.state_dict(), source.state_dict())


def test_needs_the_model(file):
    with pytest.raises(ValueError, match=r"X3D_XS\.pyth: .*pass model=models\.pytorchvideo\(name\)"):
        checkpoints.load(file)


def test_another_network_is_refused_and_left_alone(file):
    model = models.pytorchvideo("x3d_xs", num_classes=6)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="the file has 5 classes, the model 6"):
        checkpoints.load(file, model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
