"""Endpoint error."""

import numpy as np
import pytest
import torch

from kdvideo import flow as kf


def test_against_numpy_with_and_without_mask() -> None:
    a, b = torch.randn(2, 3, 2, 5, 4, dtype=torch.float64)
    mask = torch.rand(3, 5, 4) > 0.4
    distance = np.sqrt(((a - b).numpy() ** 2).sum(1))
    assert kf.endpoint_error(a, b).item() == pytest.approx(distance.mean(), rel=1e-5)
    assert kf.endpoint_error(a, b, mask=mask).item() == pytest.approx(distance[mask.numpy()].mean(), rel=1e-5)


def test_unknown_pixels_do_not_spoil_the_mean() -> None:
    target = torch.zeros(2, 4, 4)
    target[:, 0, 0] = 1.7e9
    target[0, 1, 1] = float("nan")
    assert kf.endpoint_error(torch.ones(2, 4, 4), target, mask=kf.is_known(target)).item() == pytest.approx(2**0.5)


def test_bad_input() -> None:
    flow = torch.zeros(2, 4, 4)
    with pytest.raises(ValueError, match=r"\(2, 4, 4\) and \(1, 2, 4, 4\)"):
        kf.endpoint_error(flow, flow[None])
    with pytest.raises(ValueError, match="mask must be bool"):
        kf.endpoint_error(flow, flow, mask=torch.ones(4, 4))
    with pytest.raises(ValueError, match="mask must be bool"):
        kf.endpoint_error(flow, flow, mask=torch.ones(4, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="must leave a pixel"):
        kf.endpoint_error(flow, flow, mask=torch.zeros(4, 4, dtype=torch.bool))
