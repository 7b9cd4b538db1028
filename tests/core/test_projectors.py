import pytest
import torch
from torch import nn
from torch.nn import functional as F

import kdvideo as kd
from kdvideo import projectors

FEATURE = torch.randn(2, 3, 4, 6, 5, generator=torch.Generator().manual_seed(0))


def test_conv_is_a_linear_map_of_the_channels() -> None:
    projector = projectors.conv(3, 7)
    expected = F.linear(FEATURE.movedim(1, -1), projector.weight.flatten(1), projector.bias).movedim(-1, 1)
    torch.testing.assert_close(projector(FEATURE), expected)
    assert projectors.conv(3, 7, bias=False).bias is None


def test_linear_maps_vectors_and_tokens() -> None:
    assert projectors.linear(3, 7)(torch.zeros(2, 3)).shape == (2, 7)
    assert projectors.linear(3, 7)(torch.zeros(2, 9, 3)).shape == (2, 9, 7)
    assert projectors.linear(3, 7, bias=False).bias is None


def test_conv_bn_normalises_and_takes_another_norm() -> None:
    out = projectors.conv_bn(3, 7)(FEATURE)
    torch.testing.assert_close(out.mean((0, 2, 3, 4)), torch.zeros(7), atol=1e-5, rtol=0)
    projector = projectors.conv_bn(3, 7, norm=nn.InstanceNorm3d)
    assert isinstance(projector[1], nn.InstanceNorm3d)
    assert projector[0].bias is None


def test_pool_takes_means_and_keeps_axes() -> None:
    out = projectors.pool((2, None, None))(FEATURE)
    torch.testing.assert_close(out, FEATURE.unflatten(2, (2, 2)).mean(3))


def test_interpolate_grows_and_keeps_axes() -> None:
    ramp = torch.arange(4.0).reshape(1, 1, 4, 1, 1).expand(1, 1, 4, 3, 3)
    out = projectors.Interpolate((8, None, None))(ramp)
    assert out.shape == (1, 1, 8, 3, 3)
    torch.testing.assert_close(out[0, 0, 1:-1, 0, 0], torch.linspace(0.25, 2.75, 6))


@pytest.mark.parametrize("resize", [projectors.pool((2, 3, 3)), projectors.Interpolate((8, 12, 10))])
def test_projectors_compose_and_match_the_teacher(resize: nn.Module) -> None:
    projector = nn.Sequential(projectors.conv(3, 7), resize)
    feature = FEATURE.clone().requires_grad_()
    out = projector(feature)
    teacher = kd.Output(None, {"x": torch.zeros_like(out)})
    kd.FeatureMSE("x")(kd.Output(None, {"x": out}), teacher).backward()
    assert feature.grad.abs().sum() > 0
