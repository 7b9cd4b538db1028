"""The 8-bit form: round trip, exact zero, and the map of TSN."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo import flow as kf

FINITE = st.floats(-100, 100, width=32)


@settings(deadline=None, max_examples=100)
@given(values=st.lists(FINITE, min_size=1, max_size=20), bound=st.sampled_from([1.0, 7.3, 20.0, 32.0]))
def test_round_trip(values: list[float], bound: float) -> None:
    flow = torch.tensor(values)
    back = kf.dequantize(kf.quantize(flow, bound), bound)
    clipped = flow.clamp(-bound, bound)
    assert (back - clipped).abs().max() <= bound / 254 * (1 + 1e-5)
    assert torch.equal(kf.quantize(back, bound), kf.quantize(flow, bound))
    assert torch.equal(kf.quantize(-flow, bound).int() - 128, 128 - kf.quantize(flow, bound).int())


def test_every_byte_survives_and_zero_is_exact() -> None:
    values = torch.arange(1, 256, dtype=torch.uint8)
    assert torch.equal(kf.quantize(kf.dequantize(values)), values)
    assert kf.dequantize(kf.quantize(torch.zeros(1))).item() == 0.0


@settings(deadline=None, max_examples=50)
@given(value=st.floats(-20, 20, width=32))
def test_tsn_images_are_read_within_half_a_step(value: float) -> None:
    written = np.uint8(np.rint(255 * (value + 20) / 40))  # what denseflow stores
    assert abs(kf.dequantize_tsn(torch.tensor([written])).item() - value) <= 20 / 255 * (1 + 1e-4)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="floating point"):
        kf.quantize(torch.zeros(3, dtype=torch.int32))
    with pytest.raises(ValueError, match="NaN"):
        kf.quantize(torch.tensor([float("nan")]))
    for read in (kf.dequantize, kf.dequantize_tsn):
        with pytest.raises(ValueError, match="uint8"):
            read(torch.zeros(3))
