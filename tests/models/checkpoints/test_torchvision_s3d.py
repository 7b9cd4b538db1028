"""torchvision's own S3D, and a network of our own with the names of kylemin/S3D."""

import pytest
import torch
from torch import nn
from torchvision.models.video import s3d as torchvision_s3d

from kdvideo import models
from kdvideo.models import checkpoints
from tests.models.checkpoints.reference import (
    SMALL,
    WIDTHS,
    assert_close,
    assert_equal_states,
    classify,
    narrow,
    randomise,
)


@pytest.fixture(scope="module")
def original():
    network = torchvision_s3d(num_classes=7).eval()
    randomise(network.state_dict())
    return network


@pytest.fixture(scope="module")
def ours(original):
    model = models.s3d(7).eval()
    model.load_state_dict(checkpoints.from_torchvision_s3d(original.state_dict(), model))
    return model


def test_torchvision_outputs(original, ours):
    clip = torch.randn(1, 3, 16, 210, 224)  # its fixed pool of (2, 7, 7) takes nothing much smaller
    with torch.no_grad():
        assert_close(ours(clip), original(clip))


@pytest.mark.parametrize("size", [(16, 112, 112), (13, 97, 120)])
def test_torchvision_features(original, ours, size):
    clip = torch.randn(1, 3, *size)
    features = {}
    ours.mixed_5c.register_forward_hook(lambda _, __, output: features.update(ours=output))
    with torch.no_grad():
        ours(clip)
        assert_close(features["ours"], original.features(clip))


def test_torchvision_file(original, tmp_path):
    torch.save({"epoch": 3, "state_dict": original.state_dict()}, tmp_path / "s3d.pth")
    loaded, info = checkpoints.load(tmp_path / "s3d.pth")
    assert loaded.config == models.s3d(7).config
    assert (info["format"], info["input"]["range"]) == ("torchvision's S3D", [0.0, 1.0])
    assert info["input"]["mean"] == [0.43216, 0.394666, 0.37645]
    assert_equal_states(loaded.state_dict(), original.state_dict())


class Unit(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv = nn.Conv3d(c_in, c_out, 1, bias=False)
        self.bn = nn.BatchNorm3d(c_out, eps=1e-3)

    def forward(self, x):
        return self.bn(self.conv(x)).relu()


class Halves(nn.Module):
    def __init__(self, c_in, c_out, k, s=1):
        super().__init__()
        self.conv_s = nn.Conv3d(c_in, c_out, (1, k, k), (1, s, s), (0, k // 2, k // 2), bias=False)
        self.bn_s = nn.BatchNorm3d(c_out, eps=1e-3)
        self.conv_t = nn.Conv3d(c_out, c_out, (k, 1, 1), (s, 1, 1), (k // 2, 0, 0), bias=False)
        self.bn_t = nn.BatchNorm3d(c_out, eps=1e-3)

    def forward(self, x):
        return self.bn_t(self.conv_t(self.bn_s(self.conv_s(x)).relu())).relu()


class Block(nn.Module):
    def __init__(self, c_in, b0, b1a, b1, b2a, b2, b3):
        super().__init__()
        self.branch0 = nn.Sequential(Unit(c_in, b0))
        self.branch1 = nn.Sequential(Unit(c_in, b1a), Halves(b1a, b1, 3))
        self.branch2 = nn.Sequential(Unit(c_in, b2a), Halves(b2a, b2, 3))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), Unit(c_in, b3))

    def forward(self, x):
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


class Kylemin(nn.Module):
    def __init__(self, classes):
        super().__init__()
        half = {"kernel_size": (1, 3, 3), "stride": (1, 2, 2), "padding": (0, 1, 1)}
        layers = [Halves(3, 8, 7, 2), nn.MaxPool3d(**half), Unit(8, 8), Halves(8, 24, 3), nn.MaxPool3d(**half)]
        width = 24
        for name, published in WIDTHS.items():
            layers += {"4b": [nn.MaxPool3d(3, 2, 1)], "5b": [nn.MaxPool3d(2, 2)]}.get(name, [])
            widths = [narrow(c) for c in published]
            layers.append(Block(width, *widths))
            width = widths[0] + widths[2] + widths[4] + widths[5]
        self.base = nn.Sequential(*layers)
        self.fc = nn.Sequential(nn.Conv3d(width, classes, 1))

    def forward(self, x):
        return classify(self.base(x), self.fc[0].weight, self.fc[0].bias)


@pytest.fixture(scope="module")
def kylemin():
    network = Kylemin(5).eval()
    randomise(network.state_dict())
    assert {"base.0.conv_s.weight", "base.3.bn_t.running_var", "base.5.branch1.1.conv_s.weight"} < set(
        network.state_dict()
    )
    return network


@pytest.mark.parametrize("prefix", ["", "module."])
def test_kylemin(kylemin, prefix, tmp_path):
    weights = {prefix + name: value for name, value in kylemin.state_dict().items()}
    model = models.s3d(5, **SMALL).eval()
    model.load_state_dict(checkpoints.from_torchvision_s3d(weights, model))
    for size in ((16, 64, 64), (17, 57, 70)):
        clip = torch.rand(1, 3, *size) * 2 - 1
        with torch.no_grad():
            assert_close(model(clip), kylemin(clip))
    torch.save(weights, tmp_path / "S3D_kinetics400.pt")
    loaded, info = checkpoints.load(tmp_path / "S3D_kinetics400.pt")
    assert loaded.config == models.s3d(5, input_range=(-1.0, 1.0), mean=(), std=(), **SMALL).config
    assert (info["format"], info["input"]["range"], info["input"]["mean"]) == ("kylemin/S3D", [-1.0, 1.0], [])
    assert_equal_states(loaded.state_dict(), kylemin.state_dict())


def test_every_problem_is_listed(kylemin):
    weights = dict(kylemin.state_dict())
    del weights["base.5.branch1.1.bn_t.running_mean"]
    weights["base.2.conv.weight"] = torch.zeros(8, 9, 1, 1, 1)
    weights["optimizer"] = torch.zeros(1)
    with pytest.raises(ValueError) as error:
        checkpoints.from_torchvision_s3d(weights, models.s3d(5, **SMALL))
    for words in (
        "in 3 places",
        "missing base.5.branch1.1.bn_t.running_mean",
        "unexpected optimizer",
        "base.2.conv.weight gives (8, 9, 1, 1, 1), the model has (8, 8, 1, 1, 1)",
    ):
        assert words in str(error.value)


def test_another_architecture_is_refused(kylemin):
    with pytest.raises(ValueError, match=r"missing conv_2c\.gate\.linear\.weight"):
        checkpoints.from_torchvision_s3d(kylemin.state_dict(), models.s3dg(5, **SMALL))
