"""Magnitude and direction."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo import flow as kf

PIXELS = st.floats(-50, 50, width=32)


@settings(deadline=None, max_examples=100)
@given(u=PIXELS, v=PIXELS)
def test_round_trip_and_unit_circle(u: float, v: float) -> None:
    flow = torch.tensor([u, v]).view(1, 2, 1, 1)
    encoding = kf.im2flow_encode(flow)
    assert torch.allclose(kf.im2flow_decode(encoding), flow, atol=1e-5, rtol=1e-5)
    if math.hypot(u, v) > 1e-30:
        angle = math.atan2(v, u)
        expected = torch.tensor([math.hypot(u, v), math.sin(angle), math.cos(angle)])
        assert torch.allclose(encoding.flatten(), expected, atol=1e-5, rtol=1e-5)


def test_no_motion_has_no_direction() -> None:
    assert torch.equal(kf.im2flow_encode(torch.zeros(2, 2, 3, 3)), torch.zeros(2, 3, 3, 3))


def test_a_negative_magnitude_is_rest() -> None:
    assert kf.im2flow_decode(torch.tensor([-2.0, 1.0, 0.0]).view(3, 1, 1)).abs().max() == 0


def test_channel_count() -> None:
    with pytest.raises(ValueError, match=r"\(...,2,H,W\)"):
        kf.im2flow_encode(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match=r"\(...,3,H,W\)"):
        kf.im2flow_decode(torch.zeros(2, 4, 4))
