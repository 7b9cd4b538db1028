"""The Triton backend on a GPU: its numbers, its CUDA graphs, streams and threads."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from kdvideo import flow as kf
from kdvideo.flow.tvl1 import eager
from kdvideo.flow.tvl1 import triton as fused
from kdvideo.flow.tvl1.pyramid import Levels
from tests.flow.frames import moving_pair, texture
from tests.flow.test_triton import QUICK, VARIANTS, clip_of, clips, mean_distance

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]


@pytest.fixture
def gpu() -> Iterator[str]:
    fused.graphs.clear()
    yield "cuda"
    torch.cuda.synchronize()
    fused.graphs.clear()


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_equals_eager(gpu: str, variant: dict[str, Any]) -> None:
    preset, clip = replace(kf.DEFAULT, **variant), clip_of(90, 117).to(gpu)
    assert mean_distance(fused.solve(clip, preset), eager.solve(clip, preset)) < 5e-3


def test_auto_is_triton_and_equals_the_cpu(gpu: str) -> None:
    pair = moving_pair(64, 80, 2, 1)
    ours = kf.tvl1(*(frame.to(gpu) for frame in pair))
    assert torch.equal(ours, kf.tvl1(*(frame.to(gpu) for frame in pair), backend="triton"))
    assert len(fused.graphs) == 1
    assert mean_distance(ours.cpu(), kf.tvl1(*pair, backend="eager")) < 1e-3


def test_replays_with_new_frames_and_leaves_earlier_flow_alone(gpu: str) -> None:
    first, second = clips(40, 52, gpu), clips(40, 52, gpu).flip(0, 1)
    expected = [fused.solve_pairs(_levels(clip), QUICK) for clip in (first, second, first)]
    flows = [fused.solve(clip, QUICK) for clip in (first, second, first)]
    assert len(fused.graphs) == 1
    for flow, wanted in zip(flows, expected, strict=True):
        assert torch.equal(flow.flatten(0, 1), wanted)


def test_shapes_alternate_and_graphs_are_dropped(gpu: str) -> None:
    sizes = [(24 + 3 * i, 31) for i in range(fused.GRAPHS + 2)]
    expected = [fused.solve(clips(*size, gpu), QUICK) for size in sizes]
    assert len(fused.graphs) == fused.GRAPHS
    for _ in range(2):
        for size, wanted in zip(sizes, expected, strict=True):
            assert torch.equal(fused.solve(clips(*size, gpu), QUICK), wanted)


def test_a_pair_does_not_depend_on_its_batch(gpu: str) -> None:
    frames = torch.stack([texture(65, 47, seed=seed)[0] for seed in range(14)]).view(2, 7, 65, 47).to(gpu)
    whole = fused.solve(frames, QUICK)
    with mock.patch.multiple(fused, CHUNK=2 * 65 * 47, PART=7 * 65 * 47):  # parts of 7 and 5
        assert torch.equal(fused.solve(frames, QUICK), whole)
    assert torch.equal(fused.solve(frames[1:, 2:4], QUICK)[0, 0], whole[1, 2])


def test_float32_in_autocast_and_inference_mode(gpu: str) -> None:
    frames = clips(40, 52, gpu)[:, :, None]
    with torch.inference_mode(), torch.autocast(gpu, torch.float16):
        inside = kf.tvl1(frames, value_range=(0, 255), backend="triton")
    outside = kf.tvl1(frames, value_range=(0, 255), backend="triton")  # writes to the same buffers
    assert inside.dtype == torch.float32
    assert torch.equal(inside, outside)


def test_side_streams_and_threads(gpu: str) -> None:
    frames = [clips(40, 52, gpu).roll(shift, -1) for shift in range(6)]
    expected = [fused.solve(clip, QUICK) for clip in frames]
    flows: dict[int, Tensor] = {}

    def work(i: int) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.default_stream())
        with torch.cuda.stream(stream):
            for _ in range(5):
                flows[i] = fused.solve(frames[i], QUICK)
        stream.synchronize()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(flows[i], expected[i]) for i in range(6))


def test_within_a_capture(gpu: str) -> None:
    clip, graph = clips(40, 52, gpu), torch.cuda.CUDAGraph()
    expected = fused.solve(clip, QUICK)
    with torch.cuda.graph(graph):
        flow = fused.solve(clip, QUICK)
    graph.replay()
    assert torch.equal(flow, expected)


def _levels(clip: Tensor) -> Levels:
    return [fused.pairs(level) for level in fused.pyramid(clip, QUICK)]
