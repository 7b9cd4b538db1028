"""The TV-L1 backends: equal numbers, whole clips, building the C++ one, and what happens where one is missing."""

import os
import platform
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdvideo import data
from kdvideo import flow as kf
from kdvideo.flow.tvl1 import backends, cpp
from tests.flow.frames import moving_pair, texture

QUICK = replace(kf.DEFAULT, warps=2, iterations=10)
COMPILER = not cpp.build_error()
needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C++ compiler here")
CPU = [pytest.param("cpp", marks=needs_compiler), "eager"]


@pytest.fixture(scope="module")
def real(shared: Path) -> Tensor:
    """Two clips (2,4,3,H,W) of real video, one of them with fast motion."""
    folder = shared / "data" / "clips"
    files = ["torchvision_videos/v_SoccerJuggling_g23_c01.avi", "torchvision_videos/SOX5yA1l24A.mp4"]
    frames = [data.read_frames(folder / name, short_side=128, window=range(20, 24)) for name in files]
    return torch.stack([f[..., :128, :160] for f in frames])


def difference(a: Tensor, b: Tensor) -> float:
    """Largest mean distance of any pair, px."""
    return float((a - b).norm(dim=-3).flatten(0, -3).mean((-2, -1)).max())


@needs_compiler
@pytest.mark.parametrize("preset", [kf.DEFAULT, kf.FAST], ids=["default", "fast"])
def test_cpp_equals_eager_on_real_frames(real: Tensor, preset: kf.TVL1Settings) -> None:
    fast, plain = (kf.tvl1(real, preset=preset, backend=backend) for backend in ("cpp", "eager"))
    assert difference(fast, plain) < 0.03
    assert (fast - plain).norm(dim=-3).median() < 1e-4


@pytest.mark.parametrize("backend", CPU)
def test_opencv_is_the_same_solver(real: Tensor, backend: backends.Backend) -> None:
    preset = replace(kf.DEFAULT, border="zeros")
    ours, theirs = (kf.tvl1(real[:, :2], preset=preset, backend=which) for which in (backend, "opencv"))
    inner = (..., slice(12, -12), slice(12, -12))  # at an edge "zeros" magnifies rounding, between any two
    assert difference(ours[inner], theirs[inner]) < 0.03
    assert (ours - theirs).norm(dim=-3).median() < 1e-2


STILL = {
    **kf.PRESETS,
    "zeros": replace(kf.DEFAULT, border="zeros"),
    "zeros, linear": replace(kf.DEFAULT, border="zeros", interpolation="bilinear"),
    "zeros, medians": replace(kf.DEFAULT, border="zeros", median=5, rounds=2),
    "border": replace(kf.DEFAULT, border="border"),
    "zeros, coarse": replace(kf.DEFAULT, border="zeros", scale_step=0.5, lambda_=0.3),
}


@pytest.mark.parametrize("name", STILL)
@pytest.mark.parametrize("backend", [*CPU, "opencv"])
def test_equal_frames_do_not_move_at_all(backend: backends.Backend, name: str) -> None:
    """Fails when `eager.warp` samples pixels that do not move: up to 2.2 px at the edge then, with zeros outside."""
    if backend == "opencv" and (STILL[name].border, STILL[name].interpolation) != ("zeros", "bicubic"):
        pytest.skip("OpenCV has zeros outside and samples cubically")
    generator = torch.Generator().manual_seed(0)
    for height, width in ((37, 61), (64, 48), (97, 131)):
        noise = torch.randint(0, 256, (1, 1, height, width), generator=generator, dtype=torch.uint8)
        smooth = texture(height, width, seed=1).view(1, 1, height, width)
        for frame in (noise, smooth):
            scale = (0, 255) if frame.is_floating_point() else None
            flow = kf.tvl1(frame, frame, preset=STILL[name], value_range=scale, backend=backend)
            assert torch.equal(flow, torch.zeros_like(flow)), f"{float(flow.abs().max())} px"


VARIANTS = [
    *({"border": "zeros"}, {"border": "border"}, {"interpolation": "bilinear"}, {"scale_step": 0.5}, {"tau": 0.2}),
    *({"lambda_": 0.3}, {"theta": 0.2}, {"median": 3, "rounds": 2}, {"median": 5}, {"tolerance": 0.05}, {"scales": 1}),
    {"tolerance": 0.02, "rounds": 3, "median": 5},
]


@needs_compiler
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("size", [(33, 47), (64, 48)])
def test_cpp_equals_eager_in_every_setting(variant: dict[str, object], size: tuple[int, int]) -> None:
    preset = replace(QUICK, **variant)  # type: ignore[arg-type]
    pair = moving_pair(*size, 2, 1)
    fast, plain = (kf.tvl1(*pair, preset=preset, backend=backend) for backend in ("cpp", "eager"))
    # Each of about 100 iterations rounds 2 px by eps: 2e-5 px, and 1e-5 is seen. Without texture in a picture rounding
    # grows, to 2e-3 px at single pixels. A step tau that is half a percent off gives a mean of 1.5e-4 and more.
    distance = (fast - plain).abs()
    assert distance.mean() < 5e-5
    assert distance.max() < 1e-2


@pytest.mark.parametrize("backend", CPU)
def test_a_clip_is_its_pairs(backend: backends.Backend) -> None:
    frames = torch.stack([texture(40, 36, seed=seed).to(torch.uint8) for seed in range(6)]).view(2, 3, 1, 40, 36)
    flow = kf.tvl1(frames, preset=QUICK, backend=backend)
    assert flow.shape == (2, 2, 2, 40, 36)
    for clip in range(2):
        assert torch.equal(kf.tvl1(frames[clip], preset=QUICK, backend=backend), flow[clip])
        for t in range(2):
            pair = kf.tvl1(frames[clip, t : t + 1], frames[clip, t + 1 : t + 2], preset=QUICK, backend=backend)
            assert torch.equal(pair[0], flow[clip, t])


@pytest.mark.parametrize("backend", CPU)
def test_the_number_of_threads_changes_nothing(backend: backends.Backend) -> None:
    frames = torch.randint(256, (1, 5, 3, 40, 33), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    before, flows = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        flows.append(kf.tvl1(frames, preset=QUICK, backend=backend))
        torch.set_num_threads(before)
    assert torch.equal(*flows)


@pytest.mark.parametrize("backend", CPU)
def test_flow_of_unrelated_frames_stays_within_the_frame(real: Tensor, backend: backends.Backend) -> None:
    cuts = torch.stack([real[0, 0], real[1, 0], real[0, 2], torch.flip(real[1, 3], (-1, -2))])
    flow = kf.tvl1(cuts, backend=backend)
    assert flow.isfinite().all()
    assert flow.abs().max() < max(real.shape[-2:])


def faint(difference: float) -> Tensor:
    """A clip whose flow has gradients so small that their squares are denormal numbers, or nearly."""
    frames = torch.zeros(1, 3, 1, 24, 24)
    frames[0, 1:, 0, 12, 12] = difference
    return frames


@pytest.mark.parametrize("backend", CPU)
@pytest.mark.parametrize("exponent", range(6, 16))
def test_denormal_gradients_are_numbers(backend: backends.Backend, exponent: int) -> None:
    flow = kf.tvl1(faint(10.0**-exponent), value_range=(0, 255), backend=backend)
    assert flow.isfinite().all()
    assert flow.abs().max() < 1e-4


@needs_compiler
def test_wide_frames_take_several_sweeps() -> None:
    pair = moving_pair(24, 420, 2, 1)  # the rows of 30 iterations are too long for the cache
    fast, plain = (kf.tvl1(*pair, backend=backend) for backend in ("cpp", "eager"))
    assert (fast - plain).norm(dim=1).mean() < 1e-3


@pytest.mark.parametrize("backend", CPU)
def test_bad_pixels_name_clip_and_frame(backend: backends.Backend) -> None:
    frames = torch.rand(2, 4, 3, 16, 16)
    frames[1, 3, 0, 2, 2] = float("inf")
    with pytest.raises(ValueError, match="frame 3 of clip 1"):
        kf.tvl1(frames, value_range=(0, 1), backend=backend)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "at least two frames, got 1"),
        (torch.zeros(2, 1, 3, 8, 8, dtype=torch.uint8), "at least two frames, got 1"),
        (torch.zeros(8, 8, dtype=torch.uint8), r"\(B,T,C,H,W\) or \(T,C,H,W\)"),
        (torch.zeros(2, 3, 8, 8, 3, dtype=torch.uint8), r"\(B,T,C,H,W\) or \(T,C,H,W\)"),
        (torch.zeros(2, 3, 0, 8, dtype=torch.uint8), r"\(B,T,C,H,W\) or \(T,C,H,W\)"),
    ],
)
def test_bad_clips(frames: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kf.tvl1(frames)


def test_backends_that_cannot_do_it_say_so() -> None:
    pair = moving_pair(20, 20, 1, 0)
    with pytest.raises(ValueError, match="'auto', 'eager'"):
        kf.tvl1(*pair, backend="cuda")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"triton.*works on cuda"):
        kf.tvl1(*pair, backend="triton")
    with pytest.raises(ValueError, match=r"OpenCV cannot do.*border='mask'"):
        kf.tvl1(*pair, backend="opencv")


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch):
    """The C++ solver is looked for anew, within this test alone."""
    cpp.load.cache_clear()
    backends.best_backend.cache_clear()
    yield monkeypatch
    cpp.load.cache_clear()
    backends.best_backend.cache_clear()


@needs_compiler
@pytest.mark.skipif(platform.machine() != "x86_64", reason="another processor's reciprocal square root")
def test_denormal_gradients_are_numbers_on_processors_without_avx512(no_library: pytest.MonkeyPatch) -> None:
    no_library.setattr(cpp, "NATIVE", ("-march=haswell",))
    for exponent in range(6, 16):
        assert kf.tvl1(faint(10.0**-exponent), value_range=(0, 255), backend="cpp").isfinite().all()


def test_without_a_compiler_auto_is_eager_and_says_so_once(no_library: pytest.MonkeyPatch) -> None:
    no_library.setenv("CXX", "no-such-compiler")
    pair = moving_pair(20, 20, 1, 0)
    with pytest.warns(UserWarning, match="plain torch.*no-such-compiler"):
        flow = kf.tvl1(*pair, preset=QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(flow, kf.tvl1(*pair, preset=QUICK, backend="eager"))
        assert torch.equal(flow, kf.tvl1(*pair, preset=QUICK))
    with pytest.raises(ValueError, match="no-such-compiler"):
        kf.tvl1(*pair, backend="cpp")


def test_a_compiler_that_fails_is_named(no_library: pytest.MonkeyPatch) -> None:
    no_library.setenv("CXX", "false")
    with pytest.raises(ValueError, match="false cannot build"):
        kf.tvl1(*moving_pair(20, 20, 1, 0), backend="cpp")


BUILD = "from kdvideo.flow.tvl1.cpp import load; print(load()._name)"


@needs_compiler
def test_processes_build_once_and_leave_one_file(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    start = [sys.executable, "-c", BUILD]
    started = [subprocess.Popen(start, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    names = {process.communicate()[0] for process in started}
    assert len(names) == 1
    (file,) = (tmp_path / "kdvideo").iterdir()
    assert names == {f"{file}\n"}


@needs_compiler
def test_a_home_that_cannot_be_written_is_no_obstacle(no_library: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    no_library.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kf.tvl1(*moving_pair(20, 20, 1, 0), preset=QUICK, backend="cpp").shape == (1, 2, 20, 20)
