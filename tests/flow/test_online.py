"""Flow computed from the windows that the student sees."""

import pytest
import torch
from torch import Tensor

from kdvideo import flow as kf
from kdvideo.data.clips.sampling import flow_positions, window_positions
from tests.flow.frames import texture

BOUND = 4.0
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def clip(length: int, seed: int = 0) -> Tensor:
    """Frames (L,3,H,W) uint8 of a texture that moves one pixel to the right in each of them."""
    large = texture(24, 32 + length, seed=seed).to(torch.uint8)
    return torch.cat([large[:, :, length - k : length - k + 32] for k in range(length)])[:, None].expand(-1, 3, 24, 32)


def window(frames: Tensor, size: int) -> Tensor:
    """(3,T,H,W) in [-1, 1]; a clip shorter than T starts over."""
    at = window_positions(0, size, len(frames))
    return frames[at].transpose(0, 1).float() / 127.5 - 1


def online(clips: list[Tensor], size: int) -> Tensor:
    rgb = torch.stack([window(frames, size) for frames in clips])
    return kf.OnlineFlow(bound=BOUND)(rgb, torch.tensor([min(len(frames), size) for frames in clips]))


@pytest.mark.parametrize("length", [2, 3, 5, 6, 9])
def test_it_is_the_flow_of_the_frames_at_every_position(length: int) -> None:
    frames = clip(length)
    shown = min(length, 6)
    expected = kf.to_unit(kf.tvl1(frames[:shown]), BOUND)[flow_positions(window_positions(0, 6, shown), shown)]
    result = online([frames], 6)[0]
    assert result.shape == (2, 6, 24, 32)
    assert torch.allclose(result, expected.transpose(0, 1), atol=1e-3)
    assert result[0, :, 6:-6, 6:-6].median() == pytest.approx(1 / BOUND, abs=0.03)  # also at the seam


def test_clips_of_a_batch_have_lengths_of_their_own() -> None:
    clips = [clip(6, seed=1), clip(3, seed=2), clip(1, seed=3)]
    together = online(clips, 6)
    assert torch.allclose(together, torch.cat([online([frames], 6) for frames in clips]), atol=1e-4)
    assert together[2].abs().max() == 0


def test_a_window_of_one_frame_has_no_flow() -> None:
    assert online([clip(4)], 1).shape == (1, 2, 1, 24, 32)
    assert online([clip(4)], 1).abs().max() == 0


def test_it_mirrors_with_the_frames() -> None:
    rgb, lengths = window(clip(4), 4)[None], torch.tensor([4])
    flow = kf.OnlineFlow(bound=BOUND)
    mirrored = kf.hflip(flow(rgb.flip(-1), lengths), channel_dim=1)
    assert (mirrored - flow(rgb, lengths))[..., 6:-6, 6:-6].abs().max() < 0.02


def test_it_is_truncated_to_the_bound() -> None:
    rgb = window(clip(4), 4)[None]
    assert kf.OnlineFlow(bound=0.25)(rgb, torch.tensor([4])).abs().max() == 1


def test_it_is_float32_without_gradient_also_under_autocast() -> None:
    rgb = window(clip(4), 4)[None]
    plain = kf.OnlineFlow()(rgb, torch.tensor([4]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = kf.OnlineFlow()(rgb.clone().requires_grad_(), torch.tensor([4]))
    assert inside.dtype == torch.float32
    assert not inside.requires_grad
    assert torch.equal(inside, plain)


def test_the_range_of_the_windows_is_taken_into_account() -> None:
    rgb = window(clip(4), 4)[None]
    bytes_ = kf.OnlineFlow(value_range=(0, 255))((rgb + 1) * 127.5, torch.tensor([4]))
    assert torch.allclose(bytes_, kf.OnlineFlow()(rgb, torch.tensor([4])), atol=1e-4)


class Brightness:
    """An estimator that heeds autocast, lets gradients through, and sees motion everywhere."""

    fingerprint = "brightness"

    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        return (frames[:, :-1, :2] + 3) @ torch.eye(frames.shape[-1])


def test_no_estimator_moves_a_single_frame_or_gets_gradients() -> None:
    rgb = torch.zeros(2, 3, 4, 8, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        flow = kf.OnlineFlow(Brightness())(rgb, torch.tensor([1, 2]))
    assert flow.dtype == torch.float32
    assert flow.abs().amax((1, 3, 4)).tolist() == [[0.0] * 4, [pytest.approx(0.15)] * 4]
    assert not flow.requires_grad


def test_its_fingerprint_is_that_of_the_estimator() -> None:
    assert kf.OnlineFlow(kf.TVL1Estimator(kf.FAST)).fingerprint == kf.TVL1Estimator(kf.FAST).fingerprint


@pytest.mark.parametrize(
    ("rgb", "lengths", "message"),
    [
        (torch.zeros(1, 2, 4, 8, 8), torch.tensor([4]), "windows"),
        (torch.zeros(1, 3, 4, 8, 8, dtype=torch.uint8), torch.tensor([4]), "floating point"),
        (torch.zeros(3, 4, 8, 8), torch.tensor([4]), "windows"),
        (torch.zeros(2, 3, 4, 8, 8), torch.tensor([4]), "lengths"),
        (torch.full((1, 3, 4, 8, 8), float("nan")), torch.tensor([4]), "NaN"),
        (torch.zeros(1, 3, 4, 8, 8), [4], "lengths must be a tensor, got a list"),
        (torch.zeros(2, 3, 4, 8, 8), torch.tensor([4, 5]), r"lengths must be in 1\.\.4.*got \[4, 5\]"),
        (torch.zeros(2, 3, 4, 8, 8), torch.tensor([0, 4]), r"lengths must be in 1\.\.4.*got \[0, 4\]"),
        (torch.full((1, 3, 4, 8, 8), 255.0), torch.tensor([4]), "pixels must be in value_range, -1 to 1, got 255 to"),
        (torch.full((1, 3, 4, 8, 8), -4.0), torch.tensor([4]), "pixels must be in value_range, -1 to 1, got -4 to -4"),
    ],
)
def test_other_input_is_refused(rgb: Tensor, lengths: Tensor, message: str) -> None:
    """Fails when lengths are clamped, or pixels of another range are taken: TV-L1 finds other motion in these."""
    with pytest.raises(ValueError, match=message):
        kf.OnlineFlow()(rgb, lengths)


@pytest.mark.gpu
@NO_GPU
def test_on_a_gpu_flow_is_that_of_the_cpu() -> None:
    rgb, lengths = torch.stack([window(clip(6), 6), window(clip(3), 6)]), torch.tensor([6, 3])
    on_gpu = kf.OnlineFlow(bound=BOUND)(rgb.cuda(), lengths.cuda()).cpu()
    assert (on_gpu - kf.OnlineFlow(bound=BOUND)(rgb, lengths)).abs().mean() * BOUND < 0.03
