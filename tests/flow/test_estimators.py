"""The estimators: one interface, known motion, fingerprints, bad input."""

import sys
from dataclasses import replace
from typing import Any, ClassVar

import cv2
import numpy as np
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


class Dictionary(nn.Module):
    """Stands for a network of ptlflow: blue and red of both images, and how it was called."""

    def __init__(self, iters: int = 4) -> None:
        super().__init__()
        self.iters, self.weight = iters, nn.Parameter(torch.ones(1))

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        assert not self.training
        images = inputs["images"]
        assert 0 <= images.min() <= images.max() <= 1
        return {"flows": torch.stack([images[:, 0, 0], images[:, 1, 2]], 1)[:, None] * self.weight}


class Hardware:
    """Stands for OpenCV's class of NVIDIA's hardware: shows what it was given."""

    made: ClassVar[list[tuple[Any, ...]]] = []
    freed = 0

    @classmethod
    def create(cls, *settings: Any) -> "Hardware":
        cls.made.append(settings)
        return cls()

    def calc(self, first: Any, second: Any, flow: None) -> tuple[Any, None]:
        return np.stack([first, second], -1).astype(np.int16), None

    def convertToFloat(self, flow: Any, out: None) -> Any:
        return flow.astype(np.float32)

    def collectGarbage(self) -> None:
        type(self).freed += 1


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> type[Hardware]:
    """An OpenCV with NVIDIA's hardware and one GPU."""
    monkeypatch.setattr(cv2, "cuda_NvidiaOpticalFlow_2_0", Hardware, raising=False)
    monkeypatch.setattr(cv2.cuda, "getCudaEnabledDeviceCount", lambda: 1)
    monkeypatch.setattr(Hardware, "made", [])
    monkeypatch.setattr(Hardware, "freed", 0)
    return Hardware


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


ALL = [
    kf.TVL1Estimator(replace(kf.FAST, warps=1)),
    kf.DISEstimator("fast"),
    kf.RAFTEstimator(Still()),
    kf.PTLFlowEstimator(Dictionary()),
]


@pytest.mark.parametrize("estimator", ALL, ids=["tvl1", "dis", "raft", "ptlflow"])
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


def test_networks_of_ptlflow_see_bgr() -> None:
    """Fails when the channels are not turned round, or when the second image stands for the first."""
    frames = clip().clone()
    frames[:, 0] = 10
    frames[:, 2] = 200
    frames[1:, 0] = 30
    flow = kf.PTLFlowEstimator(Dictionary(), pairs=1)(frames)
    assert (flow[0] * 255).flatten(1).mean(1).tolist() == pytest.approx([200, 30], abs=1e-3)
    no_flow = nn.Identity()
    with pytest.raises(ValueError, match=r"must give 'flows', got \['images'\]"):
        kf.PTLFlowEstimator(no_flow)(frames)


def test_a_network_of_ptlflow_itself() -> None:
    ptlflow = pytest.importorskip("ptlflow")
    flow = kf.PTLFlowEstimator(ptlflow.get_model("sea_raft_s"))(clip())
    assert flow.shape == (2, 2, 64, 72)
    assert flow.isfinite().all()


def test_nvidias_hardware(hardware: type[Hardware]) -> None:
    """Fails when width and height change places, when hints are on, or when its buffers are kept."""
    frames = clip()
    gray = kf.NvidiaEstimator("fast")(frames)
    expected = torch.stack([frames[:-1, 0], frames[1:, 0]], 1).float()
    assert (gray - expected).abs().max() <= 1
    assert hardware.made == [((72, 64), 20, 1, 1, False, False, False, 0)]
    assert hardware.freed == 1
    assert kf.NvidiaEstimator("fast").fingerprint != kf.NvidiaEstimator().fingerprint
    with pytest.raises(ValueError, match=r"at least 32 pixels a side, got 20x40"):
        kf.NvidiaEstimator()(torch.zeros(2, 1, 20, 40, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"below the number of NVIDIA's GPUs, 1 here, got 1"):
        kf.NvidiaEstimator(device=1)


@pytest.mark.skipif(hasattr(cv2, "cuda_NvidiaOpticalFlow_2_0"), reason="this OpenCV has it")
def test_an_opencv_without_nvidias_hardware_says_so() -> None:
    with pytest.raises(ValueError, match=r"OpenCV with cv2.cuda_NvidiaOpticalFlow_2_0, got version .*DISEstimator"):
        kf.NvidiaEstimator()


@pytest.mark.parametrize("make", [kf.DISEstimator, kf.NvidiaEstimator])
def test_a_missing_opencv_says_so(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match="needs OpenCV: pip install opencv-contrib-python-headless"):
        make()


def test_fingerprints_tell_estimators_apart() -> None:
    other = Still()
    other.weight.data.add_(1)
    estimators = [*ALL, kf.TVL1Estimator(), kf.DISEstimator(), kf.RAFTEstimator(other)]
    estimators += [kf.RAFTEstimator(Still(), iterations=3), kf.PTLFlowEstimator(Dictionary(iters=8))]
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
    with pytest.raises(ValueError, match="pairs"):
        kf.PTLFlowEstimator(Dictionary(), pairs=0)
    with pytest.raises(ValueError, match="'slow', 'medium', 'fast'"):
        kf.NvidiaEstimator("exact")  # type: ignore[arg-type]
