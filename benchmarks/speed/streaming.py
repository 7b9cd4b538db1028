"""Measure a stream beside clips: S3D-G, what a frame costs and what a sliding window costs more.

Every round runs, once each: the network on a clip of W frames, the causal network on a stream of as many in blocks of
8 and frame by frame, and the network on a clip again (A/A). A clip that slides by the 8 frames between two predictions
computes every frame W / 8 times. Multiply-adds are counted, times are of one thread.

    python -m benchmarks.speed.streaming
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=64, help="of the window that is computed anew")
    parser.add_argument("--size", type=int, default=224, help="height and width of a frame")
    parser.add_argument("--rounds", type=int, default=5, help="that alternate between what is compared")
    options = parser.parse_args()

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import record
from benchmarks.markdown import table
from kdvideo import models
from kdvideo.training import Timings

STEP = 8  # frames between two predictions
LIMIT_COST, LIMIT_REUSE = 1.2, 8
ARMS = {"block": "stream, blocks of 8 frames", "frame": "stream, frame by frame", "clip again": "the clip again"}


@torch.inference_mode()
def stream(network: models.Streaming, video: Tensor, block: int) -> None:
    """Run a stream from its start."""
    state: dict[str, Tensor] = {}
    for frames in torch.split(video, block, dim=2):
        _, state = network(frames, state)


def measure(frames: int, size: int, rounds: int) -> dict[str, Any]:
    """Count the multiply-adds and time the arms."""
    torch.manual_seed(0)
    offline = models.s3dg().eval()
    network = models.streaming(models.causal(offline, window=frames))
    video = torch.rand(1, 3, frames, size, size) * 2 - 1
    clip = torch.inference_mode()(partial(offline, video))
    arms = {
        "clip": clip,
        "block": partial(stream, network, video, STEP),
        "frame": partial(stream, network, video, 1),
        "clip again": clip,
    }
    times = Timings(arms, rounds, shuffle=True)
    costs = {arm: times.cost(arm, "clip") for arm in ARMS}
    counted = [models.multiply_adds(one, video) for one in (offline, network)]
    return {
        "frames": frames,
        "size": size,
        "rounds": rounds,
        "multiply_adds": dict(zip(("clip", "stream"), counted, strict=True)),
        "cost": costs,
        "sliding_over_block": round(frames / STEP / costs["block"]["median"], 2),
        "limits": {"cost": LIMIT_COST, "reuse": LIMIT_REUSE},
    }


def markdown(result: dict[str, Any]) -> str:
    """Render the record."""
    counted, rows = result["multiply_adds"], []
    reuse = result["frames"] / STEP * counted["clip"] / counted["stream"]
    for arm, text in ARMS.items():
        cost = result["cost"][arm]
        share = 1.0 if arm == "clip again" else counted["stream"] / counted["clip"]
        rows.append([text, f"{share:.3f}×", f"{cost['median']:.2f}× ({cost['min']:.2f}–{cost['max']:.2f})"])
    lines = [
        *table(["per frame, S3D-G on a clip = 1", "multiply-adds", "time, median (and range)"], rows),
        "",
        f"A clip of {result['frames']} frames that slides by {STEP} costs {reuse:.1f} times "
        f"the multiply-adds of the stream, and {result['sliding_over_block']:.1f} times its time in blocks. "
        f"{result['size']}×{result['size']} pixels, {result['rounds']} rounds; {result['hardware']}, "
        f"{result['threads']} thread, load average {result['load_average']}.",
        "",
    ]
    return "\n".join(lines)


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    found = measure(options.frames, options.size, options.rounds)
    record.write_run("benchmarks.speed.streaming", found, markdown)


if __name__ == "__main__":
    main(options)
