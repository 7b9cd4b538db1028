"""Speed of TV-L1: kdvideo beside OpenCV's DualTVL1 and scikit-image, on frames of real clips.

All methods run in one process, one after the other in every round, with the same number of threads
(OpenCV: threads over pairs, one solver each; scikit-image: processes over pairs). kdvideo's default runs twice
per round: the ratio of the two (A/A) shows how much the machine itself varies. Ratios are formed within a
round. Run it on an otherwise idle machine:

    python -m benchmarks.speed_flow --clips ../shared/data/clips --threads 2
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdvideo import flow as kf

RESULT = Path(__file__).parent / "results" / "speed_flow.json"


def load_frames(clips: Path, size: int, count: int) -> Tensor:
    """Grey frame pairs (2,count,1,size,size) uint8, spread over the videos in `clips`."""
    videos = sorted(p for p in clips.rglob("*") if p.suffix in {".mp4", ".avi", ".webm"})
    if not videos:
        sys.exit(f"no videos in {clips}: name a folder of real clips with --clips")
    per_video = -(-count // len(videos))
    pairs = [pair for video in videos for pair in _pairs_of(video, size, per_video)]
    return torch.stack(pairs[:count], 1)


def _pairs_of(video: Path, size: int, count: int) -> list[Tensor]:
    with av.open(str(video), metadata_errors="ignore") as container:
        frames = [torch.from_numpy(f.to_ndarray(format="gray")) for f in container.decode(video=0)]
    starts = torch.linspace(0, len(frames) - 2, count + 2).long()[1:-1]
    return [_square(torch.stack([frames[i], frames[i + 1]]), size) for i in starts]


def _square(frames: Tensor, size: int) -> Tensor:
    """Short side to `size`, centre crop: (2,H,W) to (2,1,size,size)."""
    scale = size / min(frames.shape[-2:])
    target = [max(size, round(side * scale)) for side in frames.shape[-2:]]
    small = F.interpolate(frames[:, None].float(), target, mode="bilinear", antialias=True)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    return small[..., top : top + size, left : left + size].round().clamp(0, 255).byte()


def opencv(previous: np.ndarray, next: np.ndarray) -> np.ndarray:
    return cv2.optflow.createOptFlow_DualTVL1().calc(previous, next, None)


def skimage(previous: np.ndarray, next: np.ndarray) -> np.ndarray:
    from skimage.registration import optical_flow_tvl1

    v, u = optical_flow_tvl1(previous, next)
    return np.stack([u, v], -1)


def over_pairs(pool: ThreadPoolExecutor | ProcessPoolExecutor, solve: Callable, frames: Tensor) -> Tensor:
    previous, next = (list(f[:, 0].numpy()) for f in frames)
    return torch.from_numpy(np.stack(list(pool.map(solve, previous, next)))).permute(0, 3, 1, 2)


class Timings:
    """Wall and processor seconds of every method in every round, and its flows."""

    def __init__(self, methods: dict[str, Callable[[], Tensor]], rounds: int) -> None:
        self.wall: dict[str, list[float]] = {name: [] for name in methods}
        self.cpu: dict[str, list[float]] = {name: [] for name in methods}
        self.flows: dict[str, Tensor] = {}
        for _ in range(rounds):
            for name, run in methods.items():
                wall, cpu = time.perf_counter(), time.process_time()
                self.flows[name] = run()
                self.wall[name].append(time.perf_counter() - wall)
                self.cpu[name].append(time.process_time() - cpu)
                print(f"{name:22} {self.wall[name][-1]:8.2f} s", flush=True)

    def row(self, name: str, pairs: int) -> dict[str, object]:
        row = {"pairs_per_s": summarise([pairs / s for s in self.wall[name]])}
        if name != "scikit-image":  # works in other processes
            row["cpu_s_per_pair"] = summarise([s / pairs for s in self.cpu[name]])
        return row


def summarise(values: list[float]) -> dict[str, float]:
    keep = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 4) for name, value in keep.items()}


def compare(frames: Tensor, threads: int, rounds: int) -> dict[str, object]:
    """Every method on the same pairs."""
    cv2.setNumThreads(1)
    with (
        ThreadPoolExecutor(threads) as thread_pool,
        ProcessPoolExecutor(threads, mp_context=get_context("spawn")) as process_pool,
    ):
        methods = {
            "kdvideo default": lambda: kf.tvl1(frames[0], frames[1]),
            "opencv DualTVL1": lambda: over_pairs(thread_pool, opencv, frames),
            "kdvideo fast": lambda: kf.tvl1(frames[0], frames[1], preset=kf.FAST),
            "scikit-image": lambda: over_pairs(process_pool, skimage, frames),
            "kdvideo default again": lambda: kf.tvl1(frames[0], frames[1]),
        }
        Timings({name: methods[name] for name in ("kdvideo default", "scikit-image")}, 1)  # warm up
        times = Timings(methods, rounds)
    reference, rows = "opencv DualTVL1", {}
    for name, spent in times.wall.items():
        rows[name] = times.row(name, frames.shape[1])
        rows[name]["times_opencv"] = summarise(ratios(times.wall[reference], spent))
        difference = (times.flows[name] - times.flows[reference]).norm(dim=1).median()
        rows[name]["median_difference_to_opencv_px"] = round(float(difference), 4)
    control = ratios(times.wall["kdvideo default"], times.wall["kdvideo default again"])
    return shape_of(frames) | {"a_over_a": summarise(control), "methods": rows}


def ratios(a: list[float], b: list[float]) -> list[float]:
    return [x / y for x, y in zip(a, b, strict=True)]


def shape_of(frames: Tensor) -> dict[str, object]:
    return {"pairs": frames.shape[1], "size": list(frames.shape[-2:])}


def small_frames(frames: Tensor, rounds: int) -> dict[str, object]:
    """Whole clips of small frames in one call: what the pocket preset computes."""
    methods = {
        "kdvideo default": lambda: kf.tvl1(frames[0], frames[1]),
        "kdvideo fast": lambda: kf.tvl1(frames[0], frames[1], preset=kf.FAST),
    }
    times = Timings(methods, rounds)
    return shape_of(frames) | {"methods": {name: times.row(name, frames.shape[1]) for name in methods}}


def circumstances(threads: int) -> dict[str, object]:
    """What a reader needs to judge the numbers; nothing that names the machine."""
    git = lambda *args: subprocess.run(["git", *args], capture_output=True, text=True).stdout.strip()  # noqa: E731
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    packages = ("torch", "opencv-contrib-python-headless", "scikit-image", "numpy", "kdvideo")
    return {
        "threads": threads,
        "hardware": f"{model}, {os.cpu_count()} cores, no GPU used",
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain", "--", "kdvideo/flow", "benchmarks/speed_flow.py")),
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/clips"), help="folder of real videos")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = {"command": "python -m benchmarks.speed_flow", "rounds": args.rounds} | circumstances(args.threads)
    result["comparison"] = compare(load_frames(args.clips, args.size, args.pairs), args.threads, args.rounds)
    result["small_frames"] = small_frames(load_frames(args.clips, 72, 315), args.rounds)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
