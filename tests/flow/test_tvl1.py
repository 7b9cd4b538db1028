"""TV-L1: known motion, OpenCV, ground truth, independence of the batch, and bad input."""

import threading
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdvideo import flow as kf
from kdvideo.flow.tvl1 import eager
from kdvideo.flow.tvl1.eager import median_filter
from kdvideo.flow.tvl1.pyramid import pyramid_sizes
from tests.flow.frames import moving_pair, texture

QUICK = replace(kf.DEFAULT, warps=2, iterations=10)


@pytest.fixture(scope="module")
def rubberwhale(shared: Path) -> dict[str, Tensor]:
    folder = shared / "data" / "flow_rubberwhale"
    gray = [cv2.imread(str(folder / f"RubberWhale{i}.png"), cv2.IMREAD_GRAYSCALE) for i in (1, 2)]
    previous, following = (torch.from_numpy(g)[None, None] for g in gray)
    stored = kf.read_flo(folder / "tvl1_flow.flo")
    truth = kf.read_flo(folder / "RubberWhale.flo")
    return {"previous": previous, "following": following, "truth": truth, "stored": stored}


def error_map(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).norm(dim=0)


@pytest.mark.parametrize(("preset", "limit"), [(kf.DEFAULT, 0.160), (kf.FAST, 0.170)])
def test_error_against_ground_truth(rubberwhale: dict[str, Tensor], preset: kf.TVL1Settings, limit: float) -> None:
    flow = kf.tvl1(rubberwhale["previous"], rubberwhale["following"], preset=preset)[0]
    truth = rubberwhale["truth"]
    assert kf.endpoint_error(flow, truth, mask=kf.is_known(truth)) <= limit


def test_opencv_preset_agrees_with_opencv(rubberwhale: dict[str, Tensor]) -> None:
    previous, following = rubberwhale["previous"], rubberwhale["following"]
    flow = kf.tvl1(previous, following, preset="opencv")[0]
    assert error_map(flow, rubberwhale["stored"]).mean() < 0.05
    solver = cv2.optflow.createOptFlow_DualTVL1()
    installed = solver.calc(previous[0, 0].numpy(), following[0, 0].numpy(), None)
    error = error_map(flow, torch.from_numpy(installed).permute(2, 0, 1))
    assert error.mean() < 0.03
    assert error.median() < 0.01


@pytest.mark.parametrize(("u", "v"), [(3, 0), (0, -2), (-4, 5), (12, 6)])
def test_translation(u: int, v: int) -> None:
    flow = kf.tvl1(*moving_pair(80, 96, u, v))[0, :, 16:-16, 16:-16]
    assert flow.flatten(1).median(1).values.tolist() == pytest.approx([u, v], abs=0.05)


def test_opencv_preset_finds_a_translation() -> None:
    flow = kf.tvl1(*moving_pair(48, 56, 2, -1), preset=kf.OPENCV)
    assert flow[0].flatten(1).median(1).values.tolist() == pytest.approx([2, -1], abs=0.05)


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    batch=st.integers(2, 7),
    cut=st.integers(1, 6),
    threads=st.integers(1, 3),
)
def test_a_flow_does_not_depend_on_its_batch(
    seed: int, height: int, width: int, batch: int, cut: int, threads: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(256, (2, batch, 1, height, width), generator=generator, dtype=torch.uint8)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = kf.tvl1(frames[0], frames[1], preset=QUICK)
    finally:
        torch.set_num_threads(before)
    parts = [kf.tvl1(part[0], part[1], preset=QUICK) for part in torch.split(frames, cut, 1)]
    assert torch.equal(whole, torch.cat(parts))


def test_tolerance_is_decided_for_each_pair() -> None:
    preset = replace(QUICK, tolerance=0.02, iterations=30, rounds=2, median=5)
    pairs = [moving_pair(30, 34, u, 1, seed=u) for u in (0, 1, 3)]
    previous, following = (torch.cat(frames) for frames in zip(*pairs, strict=True))
    alone = [kf.tvl1(*pair, preset=preset) for pair in pairs]
    assert torch.equal(kf.tvl1(previous, following, preset=preset), torch.cat(alone))


def test_tolerance_stops_early() -> None:
    pair = moving_pair(40, 40, 1, 0)
    fixed = kf.tvl1(*pair, preset=replace(QUICK, iterations=200))
    early = kf.tvl1(*pair, preset=replace(QUICK, iterations=200, tolerance=0.01))
    assert not torch.equal(fixed, early)
    assert kf.endpoint_error(early, fixed) < 0.1


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 1000), u=st.integers(-3, 3), v=st.integers(-3, 3))
def test_flow_of_mirrored_frames_is_mirrored_flow(seed: int, u: int, v: int) -> None:
    previous, following = moving_pair(48, 56, u, v, seed=seed)
    mirrored = kf.tvl1(previous.flip(-1), following.flip(-1))
    inner = (..., slice(8, -8), slice(8, -8))  # what enters at an edge has no true flow
    assert kf.endpoint_error(mirrored[inner], kf.hflip(kf.tvl1(previous, following))[inner]) < 0.05


def test_nothing_in_a_plain_picture() -> None:
    gray = torch.full((2, 3, 40, 30), 77, dtype=torch.uint8)
    for following in (gray, gray + 100):
        for preset in (kf.DEFAULT, kf.OPENCV, kf.FAST):
            assert kf.tvl1(gray, following, preset=preset).abs().max() < 1e-4


def test_flow_that_leaves_the_frame_does_not_run_away() -> None:
    flow = kf.tvl1(*moving_pair(64, 80, 7, -5))
    expected = torch.tensor([7.0, -5.0]).view(2, 1, 1).expand(2, 64, 80)
    assert kf.endpoint_error(flow[0], expected) < 0.1
    assert flow.abs().max() < 12


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (15, 200)])
@pytest.mark.parametrize("preset", [kf.DEFAULT, kf.OPENCV, kf.FAST])
def test_small_frames(size: tuple[int, int], preset: kf.TVL1Settings) -> None:
    picture = texture(*size).to(torch.uint8)[None]
    flow = kf.tvl1(picture, picture, preset=preset)
    assert flow.shape == (1, 2, *size)
    assert not flow.any()


def test_empty_batch() -> None:
    assert kf.tvl1(*(torch.zeros(0, 3, 20, 30),) * 2, value_range=(0, 1)).shape == (0, 2, 20, 30)


def test_value_ranges_agree() -> None:
    preset = replace(QUICK, border="zeros")  # the one border that knows what black is
    previous, following = moving_pair(32, 32, 1, 1)
    expected = kf.tvl1(previous, following, preset=preset)
    for low, high in ((0.0, 255.0), (0.0, 1.0), (-1.0, 1.0)):
        frames = [low + image.double() / 255 * (high - low) for image in (previous, following)]
        found = kf.tvl1(*frames, preset=preset, value_range=(low, high))
        assert found.dtype == torch.float32
        assert (found - expected).abs().max() < 1e-2


def test_color_is_weighted_as_opencv_does() -> None:
    generator = torch.Generator().manual_seed(0)
    rgb = torch.randint(256, (2, 1, 3, 24, 24), generator=generator, dtype=torch.uint8).float()
    gray = [
        torch.from_numpy(cv2.cvtColor(frame[0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY))[None, None]
        for frame in rgb
    ]
    color = kf.tvl1(rgb[0], rgb[1], preset=QUICK, value_range=(0, 255))
    assert kf.endpoint_error(color, kf.tvl1(*gray, preset=QUICK, value_range=(0, 255))) < 1e-2


def test_layout_of_the_frames_does_not_matter() -> None:
    previous, following = moving_pair(40, 40, 2, 0)
    expected = kf.tvl1(previous, following, preset=QUICK)
    strided = [image.repeat_interleave(2, -1)[..., ::2] for image in (previous, following)]
    assert torch.equal(kf.tvl1(*strided, preset=QUICK), expected)
    colors = [image.expand(1, 3, 40, 40).float() for image in (previous, following)]
    last = [image.contiguous(memory_format=torch.channels_last) for image in colors]
    expected = kf.tvl1(*colors, preset=QUICK, value_range=(0, 255))
    assert torch.equal(kf.tvl1(*last, preset=QUICK, value_range=(0, 255)), expected)


def test_float32_inside_autocast_and_no_gradient() -> None:
    pair = [image.float() for image in moving_pair(32, 32, 1, 0)]
    expected = kf.tvl1(*pair, preset=QUICK, value_range=(0, 255))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = kf.tvl1(pair[0].requires_grad_(), pair[1], preset=QUICK, value_range=(0, 255))
    assert torch.equal(inside, expected)
    assert not inside.requires_grad


def test_input_is_not_changed() -> None:
    pair = [image.float() for image in moving_pair(32, 32, 1, 0)]
    copies = [image.clone() for image in pair]
    kf.tvl1(*pair, preset=QUICK, value_range=(0, 255))
    assert all(torch.equal(a, b) for a, b in zip(pair, copies, strict=True))


def test_thread_setting_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(eager, "solve_pairs", lambda *_: seen.append(torch.get_num_threads()) or 1 / 0)
    torch.set_num_threads(3)
    try:
        with pytest.raises(ZeroDivisionError):
            kf.tvl1(*moving_pair(20, 20, 1, 0), backend="eager")
        other: list[int] = []
        thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (seen, torch.get_num_threads(), other) == ([1], 3, [3])
    finally:
        torch.set_num_threads(before)


def test_pixels_that_are_not_numbers_name_the_pair() -> None:
    frames = torch.rand(4, 3, 16, 16)
    broken = frames.clone()
    broken[2, 1, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="pair 2"):
        kf.tvl1(frames, broken, value_range=(0, 1))
    with pytest.raises(ValueError, match="pair 2"):
        kf.tvl1(broken, frames, value_range=(0, 1))


@pytest.mark.parametrize(
    ("previous", "following", "message"),
    [
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9), "one shape"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(2, 1, 8, 8), "one shape"),
        (torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8), r"\(B,1,H,W\) or \(B,3,H,W\)"),
        (torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), r"\(B,1,H,W\) or \(B,3,H,W\)"),
        (torch.zeros(1, 1, 0, 8), torch.zeros(1, 1, 0, 8), r"\(B,1,H,W\) or \(B,3,H,W\)"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8).double(), "one type"),
        (torch.zeros(1, 1, 8, 8).int(), torch.zeros(1, 1, 8, 8).int(), "uint8 or floating"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), "value_range"),
    ],
)
def test_bad_frames(previous: Tensor, following: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kf.tvl1(previous, following)


def test_bad_ranges_and_presets() -> None:
    frames = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="black < white"):
        kf.tvl1(frames, frames, value_range=(1, 0))
    with pytest.raises(ValueError, match=r"uint8 frames must be \(0, 255\)"):
        kf.tvl1(frames.byte(), frames.byte(), value_range=(0, 1))
    with pytest.raises(ValueError, match="'opencv'"):
        kf.tvl1(frames.byte(), frames.byte(), preset="farneback")


@pytest.mark.parametrize(
    "setting",
    [
        {"tau": 0.3},
        {"lambda_": 0},
        {"theta": -1},
        {"scale_step": 1},
        {"scales": 0},
        {"min_size": 0},
        {"warps": 0},
        {"iterations": 0},
        {"rounds": 0},
        {"tolerance": 0},
        {"median": 4},
        {"interpolation": "lanczos"},
        {"border": "reflect"},
    ],
)
def test_bad_settings_are_named(setting: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        replace(kf.DEFAULT, **setting)


def test_pyramid() -> None:
    assert pyramid_sizes((388, 584), kf.OPENCV) == [(388, 584), (310, 467), (248, 374), (198, 299), (158, 239)]
    assert min(pyramid_sizes((224, 300), kf.DEFAULT)[-1]) >= 16
    assert pyramid_sizes((10, 300), kf.DEFAULT) == [(10, 300)]
    halves = replace(kf.DEFAULT, scale_step=0.5)
    assert pyramid_sizes((64, 72), halves) == [(64, 72), (32, 36), (16, 18)]


def test_each_setting_counts() -> None:
    pair = moving_pair(32, 36, 2, 1)
    base = replace(QUICK, rounds=2)
    changes = [{"median": 3}, {"median": 5}, {"tau": 0.2}, {"lambda_": 0.3}, {"theta": 0.2}, {"scales": 1}]
    changes += [{"warps": 1}, {"iterations": 9}, {"rounds": 1}, {"min_size": 30}, {"scale_step": 0.5}]
    changes += [{"interpolation": "bilinear"}, {"border": "zeros"}, {"border": "border"}, {"tolerance": 1.0}, {}]
    flows = [kf.tvl1(*pair, preset=replace(base, **change)) for change in changes]
    same = [(a, b) for a, b in combinations(range(len(flows)), 2) if torch.equal(flows[a], flows[b])]
    assert same == [(5, 9)]  # here both leave a single level


def test_median_is_opencvs() -> None:
    plane = np.random.default_rng(0).normal(size=(17, 13)).astype(np.float32)
    found = median_filter(torch.from_numpy(plane)[None, None].expand(2, 1, 17, 13), 5)
    assert np.array_equal(found[1, 0].numpy(), cv2.medianBlur(plane, 5))
