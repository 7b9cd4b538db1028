"""Another number of channels, another set of classes, for every kind of network here."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from kdvideo import models
from kdvideo.models import build, checkpoints, inflate, resize_head, resize_stem

TINY = {"depth_multiplier": 0.125, "min_depth": 8}
MVIT = {"spatial_size": 32, "temporal_size": 8}
KINDS = {
    "s3dg": (lambda: models.s3dg(5, **TINY), ["conv_1a.conv"], "head.proj"),
    "i3d": (lambda: models.i3d(5, **TINY), ["conv_1a.conv"], "head.proj"),
    "s3d": (lambda: models.s3d(5, **TINY), ["conv_1a.spatial.conv"], "head.proj"),
    "x3d_xs": (
        lambda: models.pytorchvideo("x3d_xs", num_classes=5),
        ["network.blocks.0.conv.conv_t"],
        "network.blocks.5.proj",
    ),
    "slowfast_r50": (
        lambda: models.pytorchvideo("slowfast_r50", num_classes=5, stem_dim_outs=(16, 2)),
        [f"network.blocks.0.multipathway_blocks.{i}.conv" for i in range(2)],
        "network.blocks.6.proj",
    ),
    "mvit_base_16x4": (
        lambda: models.pytorchvideo("mvit_base_16x4", num_classes=5, **MVIT),
        ["network.patch_embed.patch_model"],
        "network.head.proj",
    ),
    "timm": (lambda: models.timm("resnet18", num_classes=5), ["network.conv1"], "network.fc"),
    "inflated": (lambda: models.inflated("resnet18", num_classes=5), ["network.conv1"], "network.fc"),
}


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    torch.manual_seed(0)
    make, stems, head = KINDS[request.param]
    model = make().eval()
    for conv in model.modules():
        if isinstance(conv, nn.Conv3d):
            nn.init.kaiming_normal_(conv.weight)  # so that small networks let the signal through
    nn.init.normal_(model.get_submodule(head).bias)
    return model, stems, head


def outside(state, paths):
    return {key: value for key, value in state.items() if key.rpartition(".")[0] not in paths}


def assert_equal_outside(model, other, paths):
    mine, theirs = (outside(m.state_dict(), paths) for m in (model, other))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)


@torch.no_grad()
def test_the_stem_averages_the_channels(case):
    model, stems, _ = case
    before = copy.deepcopy(model.state_dict())
    flow = resize_stem(model, 2)
    assert (flow.in_channels, flow.num_classes, type(flow)) == (2, 5, type(model))
    assert_equal_outside(model, flow, stems)
    for path in stems:
        old, new = model.get_submodule(path), flow.get_submodule(path)
        torch.testing.assert_close(new.weight, old.weight.mean(1, keepdim=True).expand_as(new.weight))
        assert new.in_channels == 2
        assert old.bias is None or torch.equal(old.bias, new.bias)
    gray = torch.rand(1, 1, 8, 32, 32)
    expected = model(gray.expand(-1, 3, -1, -1, -1))
    actual = flow(1.5 * gray.expand(-1, 2, -1, -1, -1))
    largest = expected.abs().max()
    assert (actual - expected).abs().max() < 1e-5 * largest
    assert (flow(gray.expand(-1, 2, -1, -1, -1)) - expected).abs().max() > 5e-5 * largest
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_new_head_is_the_builders(case):
    model, _, head = case
    torch.manual_seed(7)
    other = resize_head(model, 4)
    assert (other.num_classes, other.in_channels, model.num_classes) == (4, 3, 5)
    assert_equal_outside(model, other, [head])
    torch.manual_seed(7)
    fresh = build.build({**model.config, "num_classes": 4})
    assert fresh.config == other.config
    for name, tensor in other.get_submodule(head).state_dict().items():
        assert torch.equal(tensor, fresh.get_submodule(head).state_dict()[name])


@torch.no_grad()
def test_kept_classes_keep_their_logits(case):
    model, _, head = case
    clip = torch.rand(1, 3, 8, 32, 32)
    chosen = resize_head(model, 3, keep=[4, 0, 2])
    torch.testing.assert_close(chosen(clip), model(clip)[:, [4, 0, 2]], rtol=1e-5, atol=1e-5)
    assert_equal_outside(model, chosen, [head])


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return models.s3dg(5, **TINY).eval()


def test_as_many_classes_as_before(tiny):
    order = [1, 0, 2, 4, 3]
    clip = torch.rand(1, 3, 8, 32, 32)
    torch.testing.assert_close(resize_head(tiny, 5, keep=order)(clip), tiny(clip)[:, order])
    fresh = resize_head(tiny, 5)
    assert_equal_outside(tiny, fresh, ["head.proj"])
    assert not torch.equal(fresh.head.proj.weight, tiny.head.proj.weight)


def test_files_and_random_numbers(tiny, tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    other = resize_head(resize_stem(tiny, 4), 2)
    assert torch.equal(torch.rand(3), expected)
    checkpoints.save(other, tmp_path / "m.safetensors", classes=["a", "b"], input_spec={})
    loaded, _ = checkpoints.load(tmp_path / "m.safetensors")
    assert loaded.config == other.config
    assert loaded.input_spec == other.input_spec
    clip = torch.rand(1, 4, 8, 32, 32)
    assert torch.equal(loaded.eval()(clip), other(clip))


def test_the_input_follows_the_builder():
    with torch.device("meta"):
        rgb = models.inflated("resnet18", num_classes=5)
    flow = resize_stem(rgb, 2)
    assert flow.input_spec == build.build(flow.config).input_spec
    assert flow.input_spec != rgb.input_spec
    assert resize_stem(rgb, 3).input_spec == resize_head(rgb, 2).input_spec == rgb.input_spec


def test_type_modes_and_frozen_parameters_are_kept(tiny):
    tiny.double().requires_grad_(False)
    tiny.conv_1a.train()
    tiny.head.proj.weight.requires_grad_(True)
    for other in (resize_stem(tiny, 2), resize_head(tiny, 2)):
        assert all(not p.is_floating_point() or p.dtype is torch.float64 for p in other.state_dict().values())
        assert [m.training for m in other.modules()] == [m.training for m in tiny.modules()]
        assert [n for n, p in other.named_parameters() if p.requires_grad] == ["head.proj.weight"]


@pytest.mark.parametrize("number", [0, -1, 2.0, True, None])
def test_bad_numbers(tiny, number):
    with pytest.raises(ValueError, match=f"in_channels must be a whole number of at least 1, got {number}"):
        resize_stem(tiny, number)
    with pytest.raises(ValueError, match=f"num_classes must be a whole number of at least 1, got {number}"):
        resize_head(tiny, number)


@pytest.mark.parametrize("keep", [[0], [0, 5], [0, -1], [1, 1], [0, 1.0], [0, True]])
def test_bad_classes_to_keep(tiny, keep):
    words = "num_classes=2 classes, got 1" if len(keep) == 1 else "must be distinct integers from 0 to 4"
    with pytest.raises(ValueError, match=words):
        resize_head(tiny, 2, keep=keep)


def test_a_network_that_changed_since_it_was_built(tiny):
    tiny.head.proj = nn.Sequential(nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"no longer fits its configuration: \['head\.proj\.0\.bias'"):
        resize_head(tiny, 2)


def test_a_network_without_a_name():
    video = inflate(nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 4)))
    with pytest.raises(ValueError, match="without name="):
        resize_head(video, 2)


def test_class_names_follow():
    model = models.s3dg(5, depth_multiplier=0.125, min_depth=8)
    model.classes = tuple("abcde")
    assert resize_head(model, 3, keep=[4, 0, 1]).classes == ("e", "a", "b")
    assert resize_head(model, 5).classes == ()
    assert resize_stem(model, 2).classes == model.classes


def test_flow_s3d_survives_a_file(tmp_path):
    flow = resize_stem(models.s3d(2, depth_multiplier=0.125, min_depth=8), 2)
    assert flow.config == models.s3d(2, in_channels=2, depth_multiplier=0.125, min_depth=8).config
    models.checkpoints.save(flow, tmp_path / "a", classes=["a", "b"], input_spec={"frames": 8, "crop": 32})
    loaded, _ = models.checkpoints.load(tmp_path / "a")
    assert loaded.input_spec.mean == flow.input_spec.mean == ()
    again = resize_stem(models.checkpoints.load(tmp_path / "a")[0], 3)
    assert (again.input_spec.mean, again.in_channels) == ((), 3)


def test_a_new_head_leaves_the_input_alone():
    model = models.pytorchvideo("x3d_xs", num_classes=2)
    model.input_spec = dataclasses.replace(model.input_spec, value_range=(-1.0, 1.0), frames=6)
    assert resize_head(model, 3).input_spec == model.input_spec


@pytest.mark.parametrize("change", [resize_head, resize_stem])
@pytest.mark.parametrize("model", [nn.Linear(3, 2), "s3dg", models.s3dg])
def test_what_is_no_network_is_refused(change, model):
    """Fails when the model is not looked at: an AttributeError names nothing that a user wrote."""
    with pytest.raises(ValueError, match=r"model must be one of kdvideo.models, got (a Linear|a str|the class|a func)"):
        change(model, 2)
