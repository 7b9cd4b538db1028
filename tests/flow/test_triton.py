"""The Triton backend: its numbers in Triton's interpreter, and its code for a GPU that need not be here.

The interpreter must be chosen before Triton is imported: this file run as a program makes all checks in it.
"""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from kdvideo import flow as kf
from kdvideo.flow.tvl1 import backends, eager
from kdvideo.flow.tvl1 import triton as fused
from tests.flow.frames import moving_pair, texture

pytest.importorskip("triton")

QUICK = replace(kf.DEFAULT, warps=2, iterations=4, scales=2)
VARIANTS: list[dict[str, Any]] = [
    *({}, {"border": "zeros"}, {"border": "border"}, {"interpolation": "bilinear"}),
    *({"interpolation": "bilinear", "border": "zeros"}, {"tau": 0.2, "theta": 0.2, "rounds": 2, "scales": 1}),
]
CHECKS: dict[str, Callable[[], None]] = {}


def check(function: Callable[[], None]) -> Callable[[], None]:
    CHECKS[function.__name__] = function
    return function


def clip_of(*sizes: int, seed: int = 0) -> Tensor:
    """A gray clip (1,2,H,W) in which everything moves by (2, 1) pixels."""
    return torch.cat(moving_pair(*sizes, 2, 1, seed=seed), 1).float()


def clips(height: int, width: int, device: str = "cpu") -> Tensor:
    """Unrelated frames (2,3,H,W)."""
    return torch.cat([texture(height, width, seed=seed) for seed in range(6)]).view(2, 3, height, width).to(device)


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def mean_distance(a: Tensor, b: Tensor) -> float:
    """Whole solves magnify rounding at a few pixels of the edge, by up to 0.1 px with `border="zeros"`."""
    return float((a - b).norm(dim=-3).mean())


def _equals_eager(variant: dict[str, Any]) -> None:
    preset = replace(QUICK, **variant)
    clip = clip_of(24, 28) if variant.get("border") else clip_of(17, 40)
    assert difference(fused.solve(clip, preset), eager.solve(clip, preset)) < 1e-3


for variant in VARIANTS:
    CHECKS[f"equals eager {variant}"] = lambda variant=variant: _equals_eager(variant)  # type: ignore[misc]


@check
def flow_that_leaves_the_frame_is_that_of_eager() -> None:
    for border in ("mask", "zeros", "border"):
        for interpolation in ("bicubic", "bilinear"):
            preset = replace(kf.DEFAULT, warps=1, iterations=1, border=border, interpolation=interpolation)
            frames = torch.cat([texture(9, 11), texture(9, 11, seed=1)])[:, None]
            flow = 6 * torch.randn(1, 2, 9, 11, generator=torch.Generator().manual_seed(0))
            expected = eager.refine(frames[0], frames[1], flow, preset)
            gain = preset.tau / preset.theta
            ours = fused.refine(frames[0], frames[1], flow * gain, preset) / gain
            assert difference(ours, expected) < 1e-3


@check
def motion_is_found() -> None:
    flow = fused.solve(clip_of(24, 28), replace(QUICK, iterations=7))
    assert difference(flow[0, 0, :, 6:-6, 6:-6].mean((-1, -2)), torch.tensor([2.0, 1.0])) < 0.1


@check
def a_pair_does_not_depend_on_its_batch() -> None:
    frames, preset = clips(17, 20), replace(QUICK, warps=1, iterations=2)
    whole = fused.solve(frames, preset)
    assert whole.shape == (2, 2, 2, 17, 20)
    for clip in range(2):
        for t in range(2):
            pair = frames[clip : clip + 1, t : t + 2].mT.contiguous().mT  # columns one after another in memory
            assert torch.equal(fused.solve(pair, preset)[0, 0], whole[clip, t])
    with mock.patch.multiple(fused, CHUNK=2 * 17 * 20, PART=3 * 17 * 20):  # parts of 3 and 1, in chunks of 2
        assert torch.equal(fused.solve(frames, preset), whole)


@check
def equal_frames_do_not_move_at_all() -> None:
    for border in ("mask", "zeros", "border"):
        for interpolation in ("bicubic", "bilinear"):
            preset = replace(QUICK, iterations=2, min_size=8, border=border, interpolation=interpolation)
            frames = clips(19, 23)[:, :1].expand(-1, 2, -1, -1)
            assert torch.equal(fused.solve(frames, preset), torch.zeros(2, 1, 2, 19, 23))


@check
def images_without_texture_or_size_have_no_flow() -> None:
    for size in ((20, 24), (1, 1), (1, 9), (9, 1)):
        for border in ("mask", "zeros", "border"):
            preset = replace(QUICK, warps=1, iterations=2, border=border, scales=1)
            flow = fused.solve(torch.full((1, 2, *size), 77.3), preset)
            assert torch.equal(flow, torch.zeros(1, 1, 2, *size))


@check
def bad_pixels_touch_no_foreign_memory() -> None:
    clip = clip_of(9, 11)
    clip[0, 1, 4, 4], clip[0, 0, 2, 2] = float("nan"), float("inf")
    assert fused.solve(clip, QUICK).shape == (1, 1, 2, 9, 11)


@check
def graphs_are_padded_reused_and_dropped() -> None:
    """With a pretended GPU: a replay does the recorded solve again, into the same memory."""
    solved = fused.solve_pairs
    preset = replace(QUICK, scales=1, warps=1, iterations=1, interpolation="bilinear")
    recording, synchronized = [], []

    class Graph:
        call: Any = None

        def replay(self) -> None:
            arguments, flow = self.call
            flow.copy_(solved(*arguments))

    def solve_pairs(*arguments: Any) -> Tensor:
        flow = solved(*arguments)
        for graph in recording:
            graph.call = (arguments, flow)
        return flow

    @contextmanager
    def record(graph: Graph, **options: Any) -> Iterator[None]:
        recording.append(graph)
        yield
        recording.pop()

    stream = SimpleNamespace(wait_stream=lambda other: None, wait_event=lambda event: None)
    event = SimpleNamespace(record=lambda stream: None, synchronize=lambda: synchronized.append(1))
    cuda = SimpleNamespace(
        **{"CUDAGraph": Graph, "graph": record, "Event": lambda: event, "Stream": lambda: stream},
        **{"current_stream": lambda: stream, "stream": nullcontext, "device_of": nullcontext},
    )
    with (
        mock.patch.object(torch, "cuda", cuda),
        mock.patch.multiple(fused, solve_part=fused.replay, solve_pairs=solve_pairs, GRAPHS=2, PART=3 * 81),
    ):
        frames = torch.cat([texture(9, 9, seed=seed) for seed in range(6)])[None]  # 5 pairs: parts of 3 and 2
        with torch.inference_mode():  # its tensors cannot be written outside of it
            first = fused.solve(frames, preset)
        second = fused.solve(frames.flip(1), preset)
        (kept,) = fused.graphs.values()
        assert len(kept.flow) == 3
        for size in (10, 11):  # there is room for two
            fused.solve(clip_of(size, 9), preset)
            fused.solve(frames, preset)
        assert [key[2] for key in fused.graphs] == [(11, 9), (9, 9)]  # type: ignore[index]
        assert kept is list(fused.graphs.values())[-1]
        assert len(synchronized) == 1
    assert torch.equal(first, fused.solve(frames, preset))
    assert torch.equal(second, fused.solve(frames.flip(1), preset))


def run_checks() -> dict[str, str]:
    """What went wrong with each check, or nothing."""
    fused.BLOCK = 512  # fewer programs, each of which costs the interpreter the same
    results = {}
    for name, function in CHECKS.items():
        try:
            function()
            results[name] = ""
        except Exception:
            results[name] = traceback.format_exc()
    return results


@pytest.fixture(scope="module")
def interpreted() -> dict[str, str]:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.flow.test_triton"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    results: dict[str, str] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("name", CHECKS)
def test_in_the_interpreter(interpreted: dict[str, str], name: str) -> None:
    assert interpreted[name] == "", interpreted[name]


TYPES = {"height": "i32", "width": "i32", "gain": "fp32", "tau": "fp32", "limit": "fp32"}


@pytest.mark.parametrize("name", ["linearize", "update_primal", "update_dual"])
def test_kernels_compile_for_gpus(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The interpreter accepts more than a GPU does."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from kdvideo.flow.tvl1 import kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(kernels, name)
    constants = {"CUBIC": True, "BORDER": "zeros", "BLOCK": fused.BLOCK}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    types = {key: "constexpr" if key in constants else TYPES.get(key, "*fp32") for key in kernel.arg_names}
    compiled = triton.compile(ASTSource(kernel, types, constants), target=GPUTarget("cuda", 90, 32))
    assert compiled.asm["cubin"]


def test_it_is_the_backend_of_gpus() -> None:
    assert backends.find_solver("triton", "cuda") is fused.solve
    assert backends.find_solver("auto", "cuda") is fused.solve


def test_presets_that_decide_when_to_stop_run_eagerly() -> None:
    for variant in ({"tolerance": 0.05}, {"median": 3}):
        preset = replace(QUICK, **variant)  # type: ignore[arg-type]
        assert torch.equal(fused.solve(clip_of(20, 20), preset), eager.solve(clip_of(20, 20), preset))


def test_sizes_of_parts() -> None:
    assert [fused.part_size(count, 224 * 224) for count in (1, 3, 5, 63, 64, 65, 640)] == [1, 3, 8, 64, 64, 36, 64]
    assert fused.part_size(10**6, 1) <= 4096
    assert fused.part_size(7, 10**9) == 1


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(run_checks()))
