"""Truncating, scaling, mirroring, resizing and pooling."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo import flow as kf


def random_flow(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 15


def test_truncate_and_unit() -> None:
    flow = random_flow(3, 2, 8, 9)
    assert torch.equal(kf.truncate(flow, 7.5), flow.clamp(-7.5, 7.5))
    assert torch.equal(kf.to_unit(flow, 7.5), flow.clamp(-7.5, 7.5) / 7.5)
    assert kf.to_unit(flow).abs().max() <= 1


@pytest.mark.parametrize("bound", [0, -1, float("nan"), float("inf")])
def test_bad_bound(bound: float) -> None:
    for function in (kf.truncate, kf.to_unit, kf.quantize):
        with pytest.raises(ValueError, match="bound"):
            function(torch.zeros(2, 1, 1), bound)
    with pytest.raises(ValueError, match="bound"):
        kf.dequantize(torch.zeros(2, 1, 1, dtype=torch.uint8), bound)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), lead=st.lists(st.integers(1, 3), max_size=2), size=st.tuples(*[st.integers(1, 9)] * 2))
def test_mirroring(seed: int, lead: list[int], size: tuple[int, int]) -> None:
    flow = random_flow(*lead, 2, *size, seed=seed)
    mirrored = kf.hflip(flow)
    assert torch.equal(mirrored[..., 0, :, :], -flow[..., 0, :, :].flip(-1))
    assert torch.equal(mirrored[..., 1, :, :], flow[..., 1, :, :].flip(-1))
    assert torch.equal(kf.hflip(mirrored), flow)


def test_mirroring_of_clips_with_channels_before_frames() -> None:
    clips = random_flow(3, 2, 4, 5, 6)  # B 2 T H W
    expected = kf.hflip(clips.transpose(1, 2)).transpose(1, 2)
    assert torch.equal(kf.hflip(clips, channel_dim=1), expected)
    assert torch.equal(kf.hflip(clips, channel_dim=-4), expected)
    with pytest.raises(ValueError, match="dimension -3"):
        kf.hflip(clips)
    with pytest.raises(ValueError, match="width"):
        kf.hflip(torch.zeros(1, 4, 2), channel_dim=-1)


def test_resizing_scales_the_values() -> None:
    flow = random_flow(1, 2, 12, 10).expand(3, 2, 12, 10)
    assert torch.equal(kf.resize(flow, (12, 10)), flow)
    constant = torch.tensor([3.0, -2.0]).view(2, 1, 1).expand(4, 5, 2, 12, 10)
    resized = kf.resize(constant, (6, 30))
    assert resized.shape == (4, 5, 2, 6, 30)
    assert torch.allclose(resized, torch.tensor([9.0, -1.0]).view(2, 1, 1))


def test_area_pooling_averages_and_keeps_input_pixels() -> None:
    flow = random_flow(2, 3, 2, 8, 12)
    pooled = kf.area_pool(flow, (2, 3))
    expected = flow.view(2, 3, 2, 2, 4, 3, 4).mean((4, 6))
    assert torch.allclose(pooled, expected, atol=1e-5)
    with pytest.raises(ValueError, match="resize"):
        kf.area_pool(flow, (9, 3))


@pytest.mark.parametrize("function", [kf.hflip, lambda f: kf.resize(f, (2, 2)), lambda f: kf.area_pool(f, (1, 1))])
@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (torch.zeros(3, 4, 4), r"\(3, 4, 4\)"),
        (torch.zeros(2, 4), r"\(2, 4\)"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), "dequantize"),
    ],
)
def test_not_a_flow(function, flow: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(flow)
