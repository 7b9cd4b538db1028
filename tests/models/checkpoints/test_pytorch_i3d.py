"""pytorch-i3d's names: against a network of our own with those names and TensorFlow's padding."""

import pytest
import torch
from torch import nn

from kdvideo import models
from kdvideo.models import checkpoints
from tests.models.checkpoints.reference import (
    SMALL,
    WIDTHS,
    assert_close,
    assert_equal_states,
    classify,
    narrow,
    pad_same,
    pool_same,
    randomise,
)


class Unit(nn.Module):
    def __init__(self, c_in, c_out, kernel, stride=1, *, norm=True):
        super().__init__()
        self.conv3d = nn.Conv3d(c_in, c_out, kernel, stride, bias=not norm)
        if norm:
            self.bn = nn.BatchNorm3d(c_out, eps=1e-3)

    def forward(self, x):
        return self.bn(self.conv3d(pad_same(x, self.conv3d.kernel_size, self.conv3d.stride))).relu()


class Block(nn.Module):
    def __init__(self, c_in, b0, b1a, b1b, b2a, b2b, b3b):
        super().__init__()
        self.b0 = Unit(c_in, b0, 1)
        self.b1a, self.b1b = Unit(c_in, b1a, 1), Unit(b1a, b1b, 3)
        self.b2a, self.b2b = Unit(c_in, b2a, 1), Unit(b2a, b2b, 3)
        self.b3b = Unit(c_in, b3b, 1)

    def forward(self, x):
        pooled = pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], 1)


class I3D(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(channels, narrow(64), 7, 2)
        self.Conv3d_2b_1x1 = Unit(narrow(64), narrow(64), 1)
        self.Conv3d_2c_3x3 = Unit(narrow(64), narrow(192), 3)
        width = narrow(192)
        for name, published in WIDTHS.items():
            widths = [narrow(c) for c in published]
            setattr(self, f"Mixed_{name}", Block(width, *widths))
            width = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = Unit(width, classes, 1, norm=False)

    def forward(self, x):
        x = pool_same(self.Conv3d_1a_7x7(x), (1, 3, 3), (1, 2, 2))
        x = pool_same(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        for name in WIDTHS:
            if name == "4b":
                x = pool_same(x, (3, 3, 3), (2, 2, 2))
            if name == "5b":
                x = pool_same(x, (2, 2, 2), (2, 2, 2))
            x = getattr(self, f"Mixed_{name}")(x)
        return classify(x, self.logits.conv3d.weight, self.logits.conv3d.bias)


@pytest.fixture(scope="module", params=[3, 2])
def reference(request):
    network = I3D(5, request.param).eval()
    randomise(network.state_dict())
    return network


def test_same_outputs(reference):
    channels = reference.Conv3d_1a_7x7.conv3d.in_channels
    model = models.i3d(5, in_channels=channels, bn_scale=True, **SMALL).eval()
    state = checkpoints.from_pytorch_i3d(reference.state_dict(), model)
    assert_equal_states(state, reference.state_dict())
    model.load_state_dict(state)
    for size in ((16, 64, 64), (17, 57, 70)):
        clip = torch.rand(1, channels, *size) * 2 - 1
        with torch.no_grad():
            assert_close(model(clip), reference(clip))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_load_rebuilds_the_network(reference, prefix, tmp_path):
    weights = {prefix + name: value for name, value in reference.state_dict().items()}
    torch.save(weights, tmp_path / "rgb.pt")
    model, info = checkpoints.load(tmp_path / "rgb.pt")
    channels = reference.Conv3d_1a_7x7.conv3d.in_channels
    assert model.config == models.i3d(5, in_channels=channels, bn_scale=True, **SMALL).config
    assert (info["format"], info["classes"], info["input"]["range"]) == ("pytorch-i3d", None, [-1.0, 1.0])
    assert_equal_states(model.state_dict(), reference.state_dict())


def test_prefix_and_absent_counts(reference):
    channels = reference.Conv3d_1a_7x7.conv3d.in_channels
    model = models.i3d(5, in_channels=channels, bn_scale=True, **SMALL)
    weights = {f"module.{k}": v for k, v in reference.state_dict().items() if not k.endswith("num_batches_tracked")}
    state = checkpoints.from_pytorch_i3d(weights, model)
    assert torch.equal(state["head.proj.bias"], reference.logits.conv3d.bias)
    assert state["conv_1a.bn.num_batches_tracked"] == 0


def test_gamma_needs_bn_scale(reference):
    channels = reference.Conv3d_1a_7x7.conv3d.in_channels
    with pytest.raises(ValueError, match=r"unexpected Mixed_5c\.b3b\.bn\.weight"):
        checkpoints.from_pytorch_i3d(reference.state_dict(), models.i3d(5, in_channels=channels, **SMALL))
