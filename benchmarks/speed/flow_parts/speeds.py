"""Time the TV-L1 backends beside OpenCV's DualTVL1 and scikit-image, and on a GPU beside the memory bound."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.speed.flow_parts.others import opencv, over_pairs, skimage
from kdvideo import flow as kf
from kdvideo.training.timing import Timings, spread_of

SIZES = ((224, 224), (256, 340))
BACKENDS: tuple[Literal["cpp", "eager"], ...] = ("cpp", "eager")
KINETICS_PAIRS = 56.3e6  # 226 thousand clips of 250 frames
# Pairs per second of an H200 at 4.3 TB/s, if each iteration only moved its 84 bytes a pixel: two kernels, float32,
# five levels of the pyramid, five warps, 30 iterations.
BOUND = {(224, 224): 2750.0, (256, 340): 1580.0}


def on_cpu(pairs: Tensor, threads: int, rounds: int) -> dict[str, Any]:
    """Time every method on the same pairs (2,N,1,H,W), all on the same number of threads."""
    torch.set_num_threads(threads)
    with (
        ThreadPoolExecutor(threads) as thread_pool,
        ProcessPoolExecutor(threads, mp_context=get_context("spawn")) as process_pool,
    ):
        arms = {f"kdvideo {backend}": partial(kf.tvl1, *pairs, backend=backend) for backend in BACKENDS}
        arms["OpenCV DualTVL1"] = partial(over_pairs, thread_pool, opencv, pairs)
        arms["scikit-image"] = partial(over_pairs, process_pool, skimage, pairs)
        arms['kdvideo cpp, preset "fast"'] = partial(kf.tvl1, *pairs, preset=kf.FAST)
        arms["kdvideo cpp again"] = arms["kdvideo cpp"]
        times = Timings(arms, rounds)
    rows = {}
    for name in arms:
        flow = times.last[name]
        difference = (flow - times.last["OpenCV DualTVL1"]).norm(dim=1).median()  # type: ignore[operator]
        rows[name] = {
            "times_opencv": times.ratio(name, "OpenCV DualTVL1"),
            "pairs_per_s": times.rate(name, pairs.shape[1]),
            "median_difference_to_opencv_px": round(float(difference), 4),
        }
    control = times.ratio("kdvideo cpp again", "kdvideo cpp")
    return {"pairs": pairs.shape[1], "size": list(pairs.shape[-2:]), "a_over_a": control, "methods": rows}


def on_gpu(pairs: Tensor, rounds: int, copies: int = 8) -> dict[str, Any]:
    """Measure the pairs per second of the backends, their share of the bound, and hours for Kinetics-400 from it."""
    size = (pairs.shape[-2], pairs.shape[-1])
    previous, next = pairs.repeat(1, copies, 1, 1, 1).cuda()
    arms: dict[str, Any] = {"triton": partial(kf.tvl1, previous, next, backend="triton")}
    arms["triton, preset fast"] = partial(kf.tvl1, previous, next, backend="triton", preset=kf.FAST)
    arms["eager"] = partial(kf.tvl1, previous, next, backend="eager")
    arms["triton again"] = arms["triton"]
    times = Timings(arms, rounds, warm=2)
    rows = {}
    for name in arms:
        rate = times.rate(name, len(previous))
        rows[name] = {"pairs_per_s": rate, "share_of_bound": round(rate["median"] / BOUND[size], 3)}
        rows[name]["kinetics_400_hours"] = round(KINETICS_PAIRS / rate["median"] / 3600, 1)
    reference = kf.tvl1(*pairs, backend="eager").cuda()
    for name in ("triton", "eager"):
        distance = (times.last[name][: pairs.shape[1]] - reference).norm(dim=1)  # type: ignore[index]
        rows[name]["difference_to_cpu_px"] = spread_of(distance.mean((1, 2)).tolist())
    control = times.ratio("triton again", "triton")
    return {"pairs": len(previous), "size": list(size), "a_over_a": control, "methods": rows}
