"""Flow on the fly."""

from pathlib import Path

import pytest
import torch

from kdvideo import flow as kf
from tests.flow.frames import moving_pair


def clip() -> torch.Tensor:
    """Frames (3,3,H,W): one step right, then one step down."""
    first, second = moving_pair(40, 48, 1, 0)
    third = torch.roll(second, 1, 2)
    return torch.cat([first, second, third]).expand(3, 3, 40, 48)


def test_flow_leads_from_each_frame_to_the_next() -> None:
    flow = kf.EstimatorSource()("clip", clip())
    assert flow.shape == (2, 2, 40, 48)
    middle = flow[..., 8:-8, 8:-8].flatten(2).median(2).values
    assert middle[0].tolist() == pytest.approx([1, 0], abs=0.1)
    assert middle[1].tolist() == pytest.approx([0, 1], abs=0.1)


def test_stored_and_computed_flow_agree(tmp_path: Path) -> None:
    sources: list[kf.FlowSource] = [kf.EstimatorSource(), kf.FlowStore(tmp_path)]
    kf.FlowStore(tmp_path).write("clip", sources[0]("clip", clip()))
    computed, stored = (source("clip", clip()) for source in sources)
    assert (computed - stored).abs().max() <= 20 / 254 * (1 + 1e-5)


def test_one_frame_has_no_flow() -> None:
    assert kf.EstimatorSource()("clip", clip()[:1]).shape == (0, 2, 40, 48)


@pytest.mark.parametrize("frames", [torch.zeros(3, 2, 8, 8, dtype=torch.uint8), torch.zeros(3, 3, 8, 8)])
def test_errors_name_the_clip(frames: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="'run/1'"):
        kf.EstimatorSource()("run/1", frames)


def test_with_a_bound_it_gives_to_the_bit_what_a_store_would_give_back(tmp_path: Path) -> None:
    for bound in (20.0, 0.5):
        store = kf.FlowStore(tmp_path / str(bound), bound=bound)
        store.write("clip", kf.EstimatorSource()("clip", clip()))
        rounded = kf.EstimatorSource(bound=bound)
        assert rounded("clip", clip()).equal(store("clip", clip()))
        assert not rounded("clip", clip()).equal(kf.EstimatorSource()("clip", clip()))
        assert rounded.fingerprint == kf.EstimatorSource().fingerprint
        assert rounded("clip", clip()[:1]).shape == (0, 2, 40, 48)
