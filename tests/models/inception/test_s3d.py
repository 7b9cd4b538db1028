"""S3D beside torchvision's own: parameters, outputs, padding, input errors."""

import pytest
import torch
from torch import nn
from torchvision.models.video import s3d as reference

from kdvideo import models


def twins(**kwargs) -> tuple[nn.Module, nn.Module]:
    """Our network and torchvision's with the same random weights and statistics, in its order of layers."""
    torch.manual_seed(0)
    theirs, ours = reference(weights=None, num_classes=7).eval(), models.s3d(7, **kwargs).eval()
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm3d):
                module.momentum = 1.0
                nn.init.normal_(module.bias, std=0.2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
        theirs.features.train()(torch.randn(4, 3, 16, 64, 64))  # statistics with which the logits depend on the clip
    theirs.eval()
    values = list(theirs.state_dict().values())
    state = {key: v.reshape(w.shape) for (key, w), v in zip(ours.state_dict().items(), values, strict=True)}
    ours.load_state_dict(state)
    return ours, theirs


@pytest.mark.parametrize(
    ("size", "dtype"),
    [((16, 224, 224), torch.float32), ((17, 209, 213), torch.float32), ((17, 209, 213), torch.float64)],
)
def test_equals_torchvision(size, dtype):
    ours, theirs = (network.to(dtype) for network in twins())
    clip = torch.randn(1, 3, *size).to(dtype)
    # eps x 33 convolutions in line x sqrt(1,728 terms of the longest sum): 1.6e-4 in float32, where kernels of an AVX2
    # machine leave each network 1e-5 from its float64 logits, and 3e-13 in float64, where every other fault shows.
    rounding = torch.finfo(dtype).eps * 33 * 1728**0.5
    with torch.no_grad():
        expected = theirs(clip)
        assert (theirs(-clip) - expected).norm() > 0.1 * expected.norm(), "the logits depend on the clip"
        assert (ours(clip) - expected).norm() <= rounding * expected.norm()


@pytest.mark.parametrize("size", [(8, 32, 32), (13, 57, 46), (9, 40, 33)])
def test_features_equal_torchvision_where_its_pool_does_not_fit(size):
    ours, theirs = (network.double() for network in twins())
    clip, features = torch.randn(2, 3, *size).double(), []
    ours.mixed_5c.register_forward_hook(lambda _, __, out: features.append(out))
    with torch.no_grad():
        expected = theirs.features(clip)
        assert ours(clip).shape == (2, 7)
    assert (features[0] - expected).norm() <= 1e-12 * expected.norm()


def test_parameters_and_layers():
    with torch.device("meta"):
        model = models.s3d()
    assert sum(p.numel() for p in model.parameters()) == 8_320_048
    assert list(model.layer_names) == list(models.s3dg(3, depth_multiplier=0.1).layer_names)


def test_input_spec_is_torchvisions_or_says_otherwise():
    from torchvision.models.video import S3D_Weights

    preset = S3D_Weights.DEFAULT.transforms()
    spec = models.s3d(3, depth_multiplier=0.1).input_spec
    assert (spec.mean, spec.std, [spec.size] * 2) == (tuple(preset.mean), tuple(preset.std), list(preset.crop_size))
    flow = models.s3d(3, depth_multiplier=0.1, in_channels=2, input_range=(-1.0, 1.0))
    assert (flow.input_spec.value_range, flow.input_spec.mean) == ((-1.0, 1.0), ())
    assert flow.eval()(torch.zeros(1, 2, 8, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 8, 3, 32, 32), r"transpose\(1, 2\)"),
        ((1, 8, 32, 32, 3), r"movedim\(-1, 1\)"),
        ((1, 2, 8, 32, 32), "flow 2"),
        ((1, 3, 7, 32, 32), "loop or resize"),
    ],
)
def test_bad_input(shape, words):
    with pytest.raises(ValueError, match=words):
        models.s3d(3, depth_multiplier=0.1)(torch.zeros(shape))
