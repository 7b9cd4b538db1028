"""The estimators: one interface, known motion, fingerprints, bad input."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from kdvideo import flow as kf
from tests.flow.frames import moving_pair


class Still(nn.Module):
    """Stands for a RAFT: shows what it was given, and that nothing was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, first: Tensor, second: Tensor, num_flow_updates: int = 12) -> list[Tensor]:
        assert not self.training
        assert first.shape[1] == 3
        assert min(first.shape[-2:]) >= 128
        assert all(side % 8 == 0 for side in first.shape[-2:])
        assert first.abs().max() <= 1
        return [torch.zeros_like(first[:, :2]), torch.stack([first[:, 0], second[:, 0]], 1) * self.weight]


def clip(count: int = 3) -> Tensor:
    """(T,3,64,72) uint8, everything moves 2 right and 1 down from frame to frame."""
    large, _ = moving_pair(64 + 20, 72 + 20, 0, 0)
    frames = [large[0, 0, 10 - t : 74 - t, 10 - 2 * t : 82 - 2 * t] for t in range(count)]
    return torch.stack(frames)[:, None].expand(-1, 3, -1, -1)


@pytest.mark.parametrize("estimator", [kf.TVL1Estimator(), kf.DISEstimator()])
def test_known_motion(estimator: kf.FlowEstimator) -> None:
    flow = estimator(clip())
    assert flow.shape == (2, 2, 64, 72)
    assert flow.dtype == torch.float32
    assert flow[..., 16:-16, 16:-16].flatten(2).median(2).values[0].tolist() == pytest.approx([2, 1], abs=0.1)


ALL = [kf.TVL1Estimator(replace(kf.FAST, warps=1)), kf.DISEstimator("fast"), kf.RAFTEstimator(Still())]


@pytest.mark.parametrize("estimator", ALL, ids=["tvl1", "dis", "raft"])
def test_one_interface(estimator: kf.FlowEstimator) -> None:
    whole = estimator(torch.stack([clip(), clip().flip(0)]))
    assert whole.shape == (2, 2, 2, 64, 72)
    assert torch.equal(whole[0], estimator(clip()))
    floats = estimator(clip().float() / 255, value_range=(0, 1))
    assert (floats - whole[0]).norm(dim=1).median() < 0.01
    assert not estimator(clip().float().requires_grad_(), value_range=(0, 255)).requires_grad
    with pytest.raises(ValueError, match="value_range"):
        estimator(clip().float())
    with pytest.raises(ValueError, match="two frames"):
        estimator(clip()[:1])
    with pytest.raises(ValueError, match="frame 1 of clip 0"):
        estimator(torch.stack([torch.zeros(3, 64, 72), torch.full((3, 64, 72), torch.nan)]), value_range=(0, 1))


def test_raft_is_padded_on_both_sides_and_cut_back() -> None:
    frames = clip()
    flow = kf.RAFTEstimator(Still(), pairs=1)(frames)
    expected = torch.stack([frames[:-1, 0], frames[1:, 0]], 1).float() / 255 * 2 - 1
    assert (flow - expected).abs().max() < 1e-5
    inside = kf.RAFTEstimator(Still())(clip().float().clamp(0, 255) / 255, value_range=(0, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(kf.RAFTEstimator(Still())(clip().float() / 255, value_range=(0, 1)), inside)


def test_fingerprints_tell_estimators_apart() -> None:
    other = Still()
    other.weight.data.add_(1)
    estimators = [*ALL, kf.TVL1Estimator(), kf.DISEstimator(), kf.RAFTEstimator(other)]
    estimators += [kf.RAFTEstimator(Still(), iterations=3)]
    assert len({estimator.fingerprint for estimator in estimators}) == len(estimators)
    assert kf.TVL1Estimator(backend="eager").fingerprint == kf.TVL1Estimator().fingerprint
    assert kf.RAFTEstimator(Still(), pairs=2).fingerprint == kf.RAFTEstimator(Still()).fingerprint


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="'medium'"):
        kf.DISEstimator("slow")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"12 pixels.*8x40"):
        kf.DISEstimator()(torch.zeros(2, 1, 8, 40, dtype=torch.uint8))
    with pytest.raises(ValueError, match="iterations"):
        kf.RAFTEstimator(Still(), iterations=0)
