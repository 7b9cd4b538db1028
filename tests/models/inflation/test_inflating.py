"""Inflation: the 3-D network on a still video is the 2-D one on the picture."""

import copy
import json
import pickle

import pytest
import timm
import torch
from torch import nn

import kdvideo as kd
from kdvideo import models
from kdvideo.models import build, checkpoints, inflation
from kdvideo.models.inflation import average, center, inflate

slow = pytest.mark.slow
QUICK = {"resnet50d": 32, "seresnet50": 32, "densenet121": 32, "inception_v3": 75}
LONG = {
    "resnext50_32x4d": 32,
    "resnetv2_50": 32,
    "res2net50_26w_4s": 32,
    "regnety_002": 32,
    "efficientnet_b0": 32,
    "dpn68": 32,
}
INCEPTION = {"inception_v4": 75, "inception_resnet_v2": 75}
NETWORKS = [
    *QUICK.items(),
    *(pytest.param(*row, marks=slow) for row in (LONG | INCEPTION).items()),
]


def picture_network(name, **options):
    """timm's, with random weights that keep the signal's size, and random batch norm statistics."""
    torch.manual_seed(0)
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=7, **options)
    network = network.to_empty(device="cpu").eval()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.6, 1.4)
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.zeros_(module.num_batches_tracked)
    return network


def still(picture, frames):
    return picture.unsqueeze(2).expand(-1, -1, frames, -1, -1)


def assert_same(actual, expected):
    """To 1e-10 of the largest logit, in float64: in float32 the sums of 3-D and 2-D kernels differ by up to 1e-5."""
    assert actual.dtype == expected.dtype == torch.float64
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10 * float(expected.abs().max()))


@pytest.fixture(scope="module")
def resnet():
    return picture_network("resnet18").double()


@pytest.mark.parametrize(("name", "size"), NETWORKS)
@torch.no_grad()
def test_a_still_video_gives_what_the_picture_gives(name, size):
    network = picture_network(name).double()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    video = inflate(network)
    picture = torch.rand(2, 3, size, size).double()
    expected = network(picture)
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max(), "the logits tell nothing"
    assert_same(video(still(picture, 2)), expected)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    for path in video.layer_names.values():
        video.get_submodule(path)


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
@torch.no_grad()
def test_a_still_video_of_any_length(resnet, frames):
    picture = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(inflate(resnet)(still(picture, frames)), resnet(picture), rtol=0, atol=1e-10)


@torch.no_grad()
def test_motion_and_the_order_of_frames_matter(resnet):
    video, clip = inflate(resnet), torch.rand(1, 3, 5, 32, 32, dtype=torch.float64)
    assert (video(clip) - video(still(clip[:, :, 0], 5))).abs().max() > 1e-3
    torch.testing.assert_close(video(clip.flip(2)), video(clip))
    video.network.layer2[0].conv1.weight[:, :, 0] *= 1.5
    assert (video(clip.flip(2)) - video(clip)).abs().max() > 1e-4


@pytest.mark.parametrize("temporal", [inflation.i3d_kernels, {"conv1": (4, 1), "layer1.0.conv2": (3, 1)}])
@torch.no_grad()
def test_a_centred_kernel_sees_each_frame_by_itself(resnet, temporal):
    clip = torch.rand(1, 3, 5, 32, 32, dtype=torch.float64)
    expected = resnet(clip[0].transpose(0, 1)).mean(0, keepdim=True)
    assert_same(inflate(resnet, fill=center, temporal=temporal)(clip), expected)
    assert (inflate(resnet, fill=average)(clip) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_temporal_kernels_and_strides_can_be_given(resnet):
    temporal = {"conv1": (5, 2), "maxpool": (3, 2), "layer2.0.downsample.0": (1, 2), "layer2.0.conv1": (2, 2)}
    video = inflate(resnet, temporal=temporal)
    assert video.config["temporal"] == {path: list(pair) for path, pair in temporal.items()}
    picture = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    extractor = kd.FeatureExtractor(video, ["stem", "layer1", "layer2", "layer4"])
    output = extractor(still(picture, 11))
    assert [f.shape[2] for f in output.features.values()] == [6, 3, 2, 2]
    assert_same(output.logits, resnet(picture))
    by_rule = inflate(resnet, temporal=lambda path, layer: temporal.get(path, (1, 1)))
    assert by_rule.config == video.config


def test_by_default_every_square_kernel_grows_and_time_keeps_its_length():
    with torch.device("meta"):
        video = models.inflated("inception_v4", num_classes=5)
        features = kd.FeatureExtractor(video, ["features.21"])(torch.empty(1, 3, 7, 96, 96)).features
    assert features["features.21"].shape[2] == 7
    kernels = {m.kernel_size for m in video.modules() if isinstance(m, nn.Conv3d)}
    assert kernels == {(1, 1, 1), (3, 3, 3), (1, 1, 7), (1, 7, 1), (1, 1, 3), (1, 3, 1)}


@pytest.mark.parametrize(
    ("temporal", "words"),
    [
        ({"layer1.0.conv": (3, 1)}, r"\['layer1.0.conv'\]: closest \['layer1.0.conv"),
        ({"conv1": (0, 1)}, r"conv1 \(Conv2d\).*integers >= 1, got \(0, 1\)"),
        (lambda path, layer: (3, 1.0), r"conv1 \(Conv2d\).*\(3, 1.0\)"),
    ],
)
def test_bad_temporal_sizes(resnet, temporal, words):
    with pytest.raises(ValueError, match=words):
        inflate(resnet, temporal=temporal)


def test_layers_can_be_tapped(resnet):
    video = inflate(resnet)
    assert list(video.layer_names) == ["stem", "act1", "layer1", "layer2", "layer3", "layer4", "head"]
    clip = torch.rand(1, 3, 4, 32, 32, dtype=torch.float64)
    output = kd.FeatureExtractor(video, list(video.layer_names))(clip)
    assert torch.equal(output.features["head"], output.logits)
    assert output.features["layer3"].shape == (1, 256, 4, 2, 2)
    assert torch.equal(output.logits, video(clip))


@pytest.mark.parametrize("name", ["resnet18", *(pytest.param(n, marks=slow) for n in ("seresnet50", "inception_v3"))])
@torch.no_grad()
def test_copies_files_and_compiles(name, tmp_path):
    video, clip = inflate(picture_network(name), name=name), torch.rand(1, 3, 2, 75, 75)
    expected = video(clip)
    rebuilt = build.build(json.loads(json.dumps(video.config)))
    rebuilt.load_state_dict(video.state_dict())
    assert (rebuilt.config, rebuilt.input_spec) == (video.config, video.input_spec)
    for copied in (copy.deepcopy(video), pickle.loads(pickle.dumps(video)), rebuilt.eval()):
        torch.testing.assert_close(copied(clip), expected, rtol=0, atol=0)
    torch._dynamo.reset()
    layer = list(video.layer_names)[2]
    extractor = kd.FeatureExtractor(video, [layer])
    output = torch.compile(extractor, backend="eager", fullgraph=True)(clip)
    torch.testing.assert_close(output.logits, expected)
    torch.testing.assert_close(output.features[layer], extractor(clip).features[layer])
    checkpoints.save(video, tmp_path / "video.safetensors", classes=list("abcdefg"), input_spec={})
    torch.testing.assert_close(checkpoints.load(tmp_path / "video.safetensors")[0](clip), expected, rtol=0, atol=0)


def test_the_builder():
    with torch.device("meta"):
        video = models.inflated("resnet18.a1_in1k", num_classes=5, in_channels=2, drop_path_rate=0.1)
        rgb = models.inflated("inception_v3")
    assert (video.num_classes, video.in_channels, video.config["drop_path_rate"]) == (5, 2, 0.1)
    assert rgb.num_classes == 400
    assert (rgb.input_spec.size, rgb.input_spec.value_range) == (299, (0.0, 1.0))
    assert rgb.input_spec.mean == tuple(timm.get_pretrained_cfg("inception_v3").mean)
    assert video.input_spec.mean == ()
    with pytest.raises(ValueError, match="RGB has 3 channels and flow 2"):
        rgb(torch.empty(1, 2, 4, 75, 75))


def test_published_weights_for_flow_are_the_mean_over_rgb(monkeypatch):
    published, create = timm.create_model("resnet18", num_classes=5), timm.create_model
    asked = []

    def fake(name, *, pretrained, num_classes, in_chans):
        asked.append(pretrained)
        return published if pretrained else create(name, num_classes=num_classes, in_chans=in_chans)

    monkeypatch.setattr(timm, "create_model", fake)
    video = models.inflated("resnet18", num_classes=5, in_channels=2, pretrained=True)
    assert asked == [True], "one network: the published one"
    expected = average(published.conv1.weight.mean(1, keepdim=True), 7).expand(-1, 2, -1, -1, -1)
    torch.testing.assert_close(video.network.conv1.weight, expected)
    assert torch.equal(video.network.fc.weight, published.fc.weight)


def test_a_name_is_checked(resnet):
    other = timm.create_model("resnet18", num_classes=7, output_stride=16)
    with pytest.raises(ValueError, match=r"'resnet18', which differs .*network.layer4.0.conv1"):
        inflate(other, name="resnet18")
    assert inflate(other, name="resnet18", output_stride=16).config["output_stride"] == 16
    with pytest.raises(ValueError, match="without name="):
        build.build(inflate(resnet).config)
    for name in ("resnet_18", "resnet18.not_a_tag"):
        with pytest.raises(ValueError, match=f"got '{name}': closest"):
            models.inflated(name)


def test_modes_and_frozen_parameters_are_kept(resnet):
    network = copy.deepcopy(resnet).train()
    network.layer1.eval().requires_grad_(False)
    video = inflate(network)
    modes = {f"network.{path}" if path else "network": m.training for path, m in network.named_modules()}
    assert {path: m.training for path, m in video.named_modules() if path in modes} == {
        path: mode for path, mode in modes.items() if path in dict(video.named_modules())
    }
    frozen = {path for path, p in video.named_parameters() if not p.requires_grad}
    assert frozen == {f"network.{path}" for path, p in network.named_parameters() if not p.requires_grad}
    assert "network.layer1.0.conv1.weight" in frozen


def test_a_network_that_is_not_timms():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2, 4))
    video = inflate(network)
    assert video.layer_names["stem"] == video.layer_names["0"] == "network.0"
    assert video.layer_names["head"] == "network.3"
    assert (video.in_channels, video.num_classes, video.input_spec.mean) == (1, 4, ())
    with pytest.raises(ValueError, match="must be a classifier"):
        inflate(network[:2])


@pytest.mark.parametrize(
    ("name", "words"),
    [("vit_tiny_patch16_224", r"^patch_embed \(PatchEmbed\)"), ("convnext_atto", "permute"), ("vgg11", "pre_logits")],
)
def test_what_is_not_known_in_3d_is_named(name, words):
    with torch.device("meta"), pytest.raises(ValueError, match=words) as error:
        models.inflated(name)
    assert "What can be inflated: 2-D convolutions" in str(error.value)
