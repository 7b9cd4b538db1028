"""The adapters for torchvision's video networks and for timm's image networks on frames."""

import copy
import json
import pickle
import re

import pytest
import torch
from torch import nn

import kdvideo as kd
from kdvideo import models
from kdvideo.models.adapters.adapter import scale_ends
from kdvideo.models.adapters.torchvision import INPUT_SPECS
from kdvideo.models.build import build

TINY = ["test_resnet", "test_vit"]  # timm's own networks for tests; of the same classes as resnet50 and vit_small


@pytest.fixture(scope="module")
def vit():
    return models.timm("test_vit", num_classes=5, img_size=32).eval()


def close(a, b):
    return (a - b).abs().max() <= 1e-6 * b.abs().max().clamp(min=1)


def check_layers(model, clip):
    """Every layer named runs once, and nothing overwrites its output."""
    names = list(model.layer_names)
    first = {name: lambda out: out[0] if isinstance(out, tuple) else out for name in names}
    assert list(kd.FeatureExtractor(model, names, select=first)(clip).features) == names


# torchvision


@pytest.mark.parametrize("name", sorted(INPUT_SPECS))
def test_the_table_is_torchvisions(name):
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    spec, transforms, notes = INPUT_SPECS[name], weights.transforms(), weights.meta["_docs"]
    assert [spec.size] * 2 == list(transforms.crop_size)
    assert (list(spec.mean), list(spec.std)) == (list(transforms.mean), list(transforms.std))
    assert spec.frames == int(re.search(r"`clip_len=(\d+)`", notes)[1])
    assert spec.step / spec.fps == pytest.approx(1 / float(re.search(r"`frame_rate=([\d.]+)`", notes)[1]))
    height, width = (*transforms.resize_size, *transforms.resize_size)[:2]
    clip = torch.randint(0, 256, (3, 2, height, width), dtype=torch.uint8)
    top, left = round((height - spec.size) / 2), round((width - spec.size) / 2)
    crop = clip[..., top : top + spec.size, left : left + spec.size]
    torch.testing.assert_close(spec.prepare(crop), transforms(clip.movedim(1, 0)))


def test_every_video_network_of_torchvision_is_there():
    from torchvision.models import list_models, video

    assert set(INPUT_SPECS) == set(list_models(module=video))


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("name", sorted(INPUT_SPECS))
def test_torchvision_shapes_at_the_published_size(name, channels):
    with torch.device("meta"):
        model = models.torchvision(name, num_classes=7, in_channels=channels).eval()
    spec = model.input_spec
    assert len(spec.mean) == (3 if channels == 3 else 0)
    for size in ((spec.frames, spec.size, spec.size), model.fixed or model.minimum):
        clip = torch.empty(2, channels, *size, device="meta")
        assert model(clip).shape == (2, 7)
    check_layers(model, clip)


@pytest.mark.parametrize("name", sorted(set(INPUT_SPECS) - {"s3d"}))
def test_the_network_inside_is_torchvisions_own(name):
    from torchvision.models import video

    with torch.device("meta"):
        assert repr(models.torchvision(name, num_classes=5).network) == repr(getattr(video, name)(num_classes=5))


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "swin3d_t"])
def test_torchvision_equals_the_original(name):
    torch.manual_seed(0)
    model = models.torchvision(name, num_classes=5).eval()
    from torchvision.models import video

    with torch.device("meta"):
        inner = getattr(video, name)(num_classes=5).eval()
    inner.load_state_dict(model.network.state_dict(), assign=True)
    clip = torch.randn(2, 3, 8, 32, 32)
    with torch.no_grad():
        logits = model(clip)
        assert close(logits, inner(clip))
    assert logits.std() > 1e-4


def test_s3d_takes_small_clips_and_equals_the_original_where_it_runs():
    from torchvision.models import video

    torch.manual_seed(0)
    model = models.torchvision("s3d", num_classes=5).eval()
    inner = video.s3d(num_classes=5).eval()
    inner.load_state_dict(model.network.state_dict())
    clip = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        assert close(model(clip), inner(clip))
        assert model(clip[:, :, :8, :32, :32]).shape == (1, 5)
    with pytest.raises(ValueError, match="loop or resize"):
        model(clip[:, :, :7])


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("r3d_18", "layer2", (2, 128, 4, 8, 8)),
        ("s3d", "4C", (2, 512, 2, 2, 2)),
        ("swin3d_t", "stage3", (2, 4, 2, 2, 384)),
        ("mvit_v1_b", "scale3", (2, 8 * 28 * 28 + 1, 384)),
    ],
)
def test_torchvision_layers_can_be_tapped(name, layer, shape):
    with torch.device("meta"):
        model = models.torchvision(name).eval()
    tokens = {"x": lambda out: out[0]} if name.startswith("mvit") else {}
    clip = torch.empty(2, 3, *(model.fixed or (8, 32, 32)), device="meta")
    assert kd.FeatureExtractor(model, {layer: "x"}, select=tokens)(clip).features["x"].shape == shape


def test_mvit_takes_one_size():
    with torch.device("meta"):
        model = models.torchvision("mvit_v1_b")
    for shape in ((16, 256, 256), (16, 224, 256), (32, 224, 224), (8, 224, 224)):
        with pytest.raises(ValueError, match=r"\(16, 224, 224\)"):
            model(torch.empty(1, 3, *shape, device="meta"))


def test_published_weights_of_torchvision_are_not_recorded(monkeypatch):
    from torchvision.models.video import R3D_18_Weights

    published = models.torchvision("r3d_18").network.state_dict()
    monkeypatch.setattr(R3D_18_Weights, "get_state_dict", lambda *args, **kwargs: published)
    model = models.torchvision("r3d_18", in_channels=2, weights="DEFAULT")
    assert torch.equal(model.network.fc.weight, published["fc.weight"])
    assert torch.equal(model.network.stem[0].weight, published["stem.0.weight"][:, :2])
    assert model.config == {"architecture": "torchvision", "name": "r3d_18", "num_classes": 400, "in_channels": 2}


def test_the_ends_of_mvits_scales():
    blocks = nn.ModuleList(nn.Identity() for _ in range(5))
    for i, block in enumerate(blocks):
        block.pool_skip = nn.Identity() if i in (0, 2, 3) else None  # a first block that pools ends no scale
    assert scale_ends(blocks) == {"scale2": "blocks.1", "scale3": "blocks.2", "scale4": "blocks.4"}


# timm


@pytest.mark.parametrize("name", TINY)
def test_one_frame_is_the_image_network(name):
    import timm

    torch.manual_seed(0)
    model = models.timm(name, num_classes=5).eval()
    inner = timm.create_model(name, num_classes=5).eval()
    inner.load_state_dict(model.network.state_dict())
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert close(model(images.unsqueeze(2)), inner(images))


def test_the_logits_are_the_mean_over_the_frames(vit):
    clip = torch.randn(3, 3, 4, 32, 32)
    with torch.no_grad():
        logits = vit(clip)
        expected = torch.stack([vit.network(clip[:, :, t]) for t in range(4)]).mean(0)
        assert close(logits, expected)
        assert close(vit(clip[:, :, [2, 0, 3, 1]]), logits)
        assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("name", ["resnet50", "vit_small_patch16_224", "convnext_tiny", "swin_tiny_patch4_window7_224"])
def test_timm_shapes_at_the_published_size(name, channels):
    with torch.device("meta"):
        model = models.timm(name, num_classes=7, in_channels=channels).eval()
    spec = model.input_spec
    assert (spec.frames, spec.size, spec.value_range) == (1, 224, (-1.0, 1.0) if channels == 2 else (0.0, 1.0))
    clip = torch.empty(2, channels, 3, spec.size, spec.size, device="meta")
    assert model(clip).shape == (2, 7)
    assert {"stem", "head"} < set(model.layer_names)
    check_layers(model, clip)


def test_timms_input_is_that_of_the_weights_named():
    with torch.device("meta"):
        spec = models.timm("vit_small_patch16_224.augreg_in21k_ft_in1k").input_spec
        other = models.timm("resnet50.a1_in1k").input_spec
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.5,) * 3)
    assert (other.mean, other.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("name", "layer", "shape"), [("resnet50", "layer2", (4, 512, 4, 4)), ("test_vit", "blocks.1", (4, 5, 64))]
)
def test_timms_layers_can_be_tapped(name, layer, shape):
    with torch.device("meta"):
        model = models.timm(name, **({"img_size": 32} if name == "test_vit" else {})).eval()
    output = kd.FeatureExtractor(model, {layer: "x"})(torch.empty(2, 3, 2, 32, 32, device="meta"))
    assert output.features["x"].shape == shape


def test_timms_transformers_take_one_size(vit):
    with pytest.raises(ValueError, match=r"must be \(None, 32, 32\)"):
        models.timm("vit_tiny_patch16_224", img_size=32)(torch.empty(1, 3, 2, 64, 64))
    with pytest.raises(ValueError, match="flow 2"):
        vit(torch.empty(1, 2, 2, 32, 32))


def test_published_weights_of_timm_are_not_recorded(tmp_path):
    network = models.timm("test_resnet", num_classes=5).network
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    model = models.timm("test_resnet", num_classes=5, drop_rate=0.5, checkpoint_path=str(tmp_path / "weights.pth"))
    assert torch.equal(model.network.fc.weight, network.fc.weight)
    assert model.config == {
        "architecture": "timm",
        "name": "test_resnet",
        "num_classes": 5,
        "in_channels": 3,
        "drop_rate": 0.5,
    }


# all


@pytest.mark.parametrize(
    ("builder", "name", "closest"),
    [
        (models.torchvision, "r3d18", "r3d_18"),
        (models.timm, "resnet_50", "resnet50"),
        (models.timm, "resnet50.a1_in2k", "resnet50.a1_in1k"),
    ],
)
def test_unknown_names_list_the_closest(builder, name, closest):
    with pytest.raises(ValueError, match=rf"got '{name}': closest .*'{closest}'"):
        builder(name)


@pytest.mark.parametrize(
    ("builder", "name", "options"),
    [
        (models.torchvision, "mvit_v1_b", {"dropout": 0.1}),
        (models.torchvision, "swin3d_t", {"dropout": 0.1}),
        (models.timm, "test_vit", {"img_size": 32}),
    ],
)
def test_config_is_json_and_builds_the_same(builder, name, options):
    with torch.device("meta"):
        model = builder(name, num_classes=3, in_channels=2, **options)
        again = build(json.loads(json.dumps(model.config)))
    assert again.config == model.config
    assert again.input_spec == model.input_spec
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes


def test_copies_pickles_and_compiles(vit):
    clip = torch.randn(2, 3, 2, 32, 32)
    compiled = torch.compile(copy.deepcopy(vit), backend="eager", fullgraph=True)
    for model in (copy.deepcopy(vit), pickle.loads(pickle.dumps(vit)), compiled):
        assert close(model(clip), vit(clip))


def test_an_unknown_option_is_named():
    with pytest.raises(ValueError, match=r"do not fit torchvision: .*'depth'"):
        build({"architecture": "torchvision", "name": "r3d_18", "num_classes": 2, "in_channels": 3, "depth": 3})


def test_the_spec_follows_the_one_size_that_options_ask_for():
    model = models.timm("vit_tiny_patch16_224", num_classes=3, img_size=64)
    assert (model.input_spec.size, model.input_spec.frames) == (64, 1)
    assert models.summary(model)["input"] == (3, 1, 64, 64)
