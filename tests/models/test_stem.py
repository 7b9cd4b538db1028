"""The first convolution for other channels: cycled by default, averaged where that is asked for."""

import pytest
import torch
from torch import nn

from kdvideo.models.stem import average_filters, replace_stem


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_a_stem_for_other_channels_keeps_all_else(channels, bias):
    old = nn.Conv3d(3, 8, (1, 5, 3), (1, 2, 1), (0, 2, 1), (1, 1, 2), bias=bias, padding_mode="replicate").eval()
    network = nn.Sequential(nn.Identity(), nn.Sequential(old), nn.Conv3d(8, 4, 1))
    state = torch.get_rng_state()
    replace_stem(network, channels)
    new = network[1][0]
    assert torch.equal(torch.get_rng_state(), state)
    assert new.extra_repr() == old.extra_repr().replace("Conv3d(3", f"Conv3d({channels}").replace(
        "3, 8", f"{channels}, 8", 1
    )
    assert not new.training
    assert new.bias is old.bias
    for i in range(channels):
        assert torch.equal(new.weight[:, i], old.weight[:, i % 3])
    assert new(torch.randn(1, channels, 2, 9, 9)).shape == old(torch.randn(1, 3, 2, 9, 9)).shape
    assert network[2].in_channels == 8


def test_averaged_filters():
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    old = network[0].weight.detach().clone()
    replace_stem(network, 2, filters=average_filters)
    assert torch.equal(network[0].weight, old.mean(1, keepdim=True).expand(-1, 2, -1, -1))
    assert network[0].weight.is_contiguous()
