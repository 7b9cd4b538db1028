"""DeepMind's variable names: against a computation written out from the variables themselves."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from kdvideo import models
from kdvideo.models import checkpoints
from tests.models.checkpoints.reference import (
    SMALL,
    WIDTHS,
    assert_close,
    classify,
    narrow,
    pad_same,
    pool_same,
    randomise,
)

WRONG = "Mixed_5b/Branch_2/Conv3d_0a_3x3"  # as in the published files


def variables(scope, channels, *, wide=False, misnamed=True):
    """Random variables of a narrow I3D in TensorFlow's layout; ``wide``: batch norm's as (1, 1, 1, 1, C)."""
    found = {}

    def unit(name, kernel, c_in, c_out):
        found[f"{scope}{name}/conv_3d/w"] = torch.empty(kernel, kernel, kernel, c_in, c_out)
        for leaf in ("beta", "moving_mean", "moving_variance"):
            found[f"{scope}{name}/batch_norm/{leaf}"] = torch.empty(c_out)

    unit("Conv3d_1a_7x7", 7, channels, 8)
    unit("Conv3d_2b_1x1", 1, 8, 8)
    unit("Conv3d_2c_3x3", 3, 8, 24)
    width = 24
    for block, published in WIDTHS.items():
        b0, b1a, b1, b2a, b2, b3 = (narrow(c) for c in published)
        unit(f"Mixed_{block}/Branch_0/Conv3d_0a_1x1", 1, width, b0)
        unit(f"Mixed_{block}/Branch_1/Conv3d_0a_1x1", 1, width, b1a)
        unit(f"Mixed_{block}/Branch_1/Conv3d_0b_3x3", 3, b1a, b1)
        unit(f"Mixed_{block}/Branch_2/Conv3d_0a_1x1", 1, width, b2a)
        unit(WRONG if block == "5b" and misnamed else f"Mixed_{block}/Branch_2/Conv3d_0b_3x3", 3, b2a, b2)
        unit(f"Mixed_{block}/Branch_3/Conv3d_0b_1x1", 1, width, b3)
        width = b0 + b1 + b2 + b3
    found[f"{scope}Logits/Conv3d_0c_1x1/conv_3d/w"] = torch.empty(1, 1, 1, width, 5)
    found[f"{scope}Logits/Conv3d_0c_1x1/conv_3d/b"] = torch.empty(5)
    for name, value in found.items():
        if name.endswith("/w"):
            value.normal_(0, value[..., 0].numel() ** -0.5)
        else:
            randomise({name: value})
    return {k: v.view(1, 1, 1, 1, -1) if wide and "batch_norm" in k else v for k, v in found.items()}


def network(found, scope, clip):
    """Logits straight from the variables."""

    def unit(x, name, stride=(1, 1, 1)):
        kernel = found[f"{scope}{name}/conv_3d/w"].permute(4, 3, 0, 1, 2)
        x = F.conv3d(pad_same(x, kernel.shape[2:], stride), kernel, stride=stride)
        norm = {leaf: found[f"{scope}{name}/batch_norm/{leaf}"] for leaf in ("beta", "moving_mean", "moving_variance")}
        beta, mean, variance = (value.flatten()[:, None, None, None] for value in norm.values())
        return ((x - mean) / (variance + 1e-3).sqrt() + beta).relu()

    x = pool_same(unit(clip, "Conv3d_1a_7x7", (2, 2, 2)), (1, 3, 3), (1, 2, 2))
    x = pool_same(unit(unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3"), (1, 3, 3), (1, 2, 2))
    for block in WIDTHS:
        if block in ("4b", "5b"):
            x = pool_same(x, *(((3, 3, 3), (2, 2, 2)) if block == "4b" else ((2, 2, 2), (2, 2, 2))))
        name = f"Mixed_{block}/Branch_"
        last = f"{name}2/Conv3d_0b_3x3"
        branches = [
            unit(x, f"{name}0/Conv3d_0a_1x1"),
            unit(unit(x, f"{name}1/Conv3d_0a_1x1"), f"{name}1/Conv3d_0b_3x3"),
            unit(unit(x, f"{name}2/Conv3d_0a_1x1"), last if f"{scope}{last}/conv_3d/w" in found else WRONG),
            unit(pool_same(x, (3, 3, 3), (1, 1, 1)), f"{name}3/Conv3d_0b_1x1"),
        ]
        x = torch.cat(branches, 1)
    head = f"{scope}Logits/Conv3d_0c_1x1/conv_3d"
    return classify(x, found[f"{head}/w"].permute(4, 3, 0, 1, 2), found[f"{head}/b"])


@pytest.mark.parametrize(
    ("scope", "channels", "wide", "misnamed"),
    [("RGB/inception_i3d/", 3, False, True), ("Flow/inception_i3d/", 2, True, False), ("", 3, True, True)],
)
def test_same_outputs_and_bits(scope, channels, wide, misnamed, tmp_path):
    torch.manual_seed(0)
    found = variables(scope, channels, wide=wide, misnamed=misnamed)
    before = {name: value.clone() for name, value in found.items()}
    model = models.i3d(5, in_channels=channels, **SMALL).eval()
    model.load_state_dict(checkpoints.from_sonnet(found, model, scope=scope.rstrip("/")))
    for size in ((16, 64, 64), (17, 57, 70)):
        clip = torch.rand(1, channels, *size) * 2 - 1
        with torch.no_grad():
            assert_close(model(clip), network(found, scope, clip))
    assert all(torch.equal(found[name], value) for name, value in before.items())

    slots = {f"{name}/Momentum": torch.ones_like(value) for name, value in found.items()}
    save_file({**found, **slots, "global_step": torch.tensor(3)}, tmp_path / "i3d.safetensors")
    loaded, info = checkpoints.load(tmp_path / "i3d.safetensors")
    assert (loaded.config, info["input"]["range"]) == (model.config, [-1.0, 1.0])
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())


def test_both_names_at_once_are_refused():
    found = variables("", 3)
    meant = WRONG.replace("0a", "0b")
    found[f"{meant}/conv_3d/w"] = found[f"{WRONG}/conv_3d/w"]
    with pytest.raises(ValueError, match=rf"1 places:\n  unexpected {WRONG}/conv_3d/w"):
        checkpoints.from_sonnet(found, models.i3d(5, **SMALL), scope="")


def test_two_streams_in_one_file(tmp_path):
    save_file({**variables("RGB/inception_i3d/", 3), **variables("Flow/inception_i3d/", 2)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"must hold one network, got \['Flow/inception_i3d/', 'RGB/inception_i3d/'\]"):
        checkpoints.load(tmp_path / "a.safetensors")


def test_another_stream_says_so():
    with pytest.raises(ValueError) as error:
        checkpoints.from_sonnet(variables("", 2), models.i3d(5, **SMALL), scope="")
    assert "in 1 places" in str(error.value)
    assert "takes 2 channels (RGB has 3, flow 2), the model's 3" in str(error.value)
    assert "models.resize_stem(model, 3)" in str(error.value)
