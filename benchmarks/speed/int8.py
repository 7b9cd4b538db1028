"""Measure what int8 weights cost in accuracy, on networks that learn synthetic clips from labels.

The clips are those of `examples/features.py`; bytes are of the tensors that a file of `kdvideo export` holds. How fast
the programs are is measured by `benchmarks.speed.export`: the arithmetic is the same.

    python -m benchmarks.speed.int8 --workers 2
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["S3D-G", "S3D", "I3D", "X3D-XS"]
    quick = names[:-1]  # steps of X3D-XS take several times longer
    parser.add_argument("--networks", nargs="+", choices=names, default=quick, help=f"default: {' '.join(quick)}")
    parser.add_argument("--steps", type=int, default=120, help="of the training of each")
    parser.add_argument("--workers", type=int, default=1, help="networks at a time")
    options = parser.parse_args()

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import record
from benchmarks.markdown import table
from examples import features
from kdvideo import models
from kdvideo.data import synthetic
from kdvideo.models.int8 import quantize

LIMIT = 1.0  # points of accuracy
TINY: dict[str, Any] = {"depth_multiplier": 0.125, "min_depth": 8, "dropout": 0.0}
NETWORKS: dict[str, Callable[[int], models.Network]] = {
    "S3D-G": partial(models.s3dg, **TINY),
    "S3D": partial(models.s3d, **TINY),
    "I3D": partial(models.i3d, **TINY),
    "X3D-XS": lambda classes: models.pytorchvideo("x3d_xs", num_classes=classes),
}
SPEC = models.InputSpec(features.FRAMES, features.SIZE)


def learn(network: models.Network, clips: Tensor, labels: Tensor, steps: int) -> None:
    """Train on labels."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.1  # few steps: the running statistics must keep up
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for _ in range(steps):
        at = torch.randint(len(clips), (24,))
        optimizer.zero_grad()
        F.cross_entropy(network.train()(SPEC.prepare(clips[at])), labels[at]).backward()
        optimizer.step()
        rate.step()
    network.eval()


def measure(name: str, steps: int) -> dict[str, Any]:
    """Train one network and compare it with its int8 form."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = NETWORKS[name](len(synthetic.CLASSES))
    (videos, labels), (others, truth) = features.render(60, "train", 0), features.render(60, "test", 0)
    learn(network, videos.transpose(1, 2), labels, steps)
    clips = torch.split(SPEC.prepare(others.transpose(1, 2)), 30)
    network.input_spec = SPEC
    found: dict[str, Any] = {"name": name, **models.summary(network)}
    classes = {}
    for kind in ("float32", "int8"):
        bare = network if kind == "float32" else quantize(network)
        with torch.inference_mode():
            classes[kind] = torch.cat([bare(clip).argmax(1) for clip in clips])
        right = 100 * float((classes[kind] == truth).float().mean())
        size = sum(value.nbytes for value in bare.state_dict().values())
        found[kind] = {"bytes": size, "accuracy": round(right, 2)}
    found["same"] = round(100 * float((classes["float32"] == classes["int8"]).float().mean()), 2)
    return found


def markdown(result: dict[str, Any]) -> str:
    """Render the record."""
    rows = []
    for one in result["networks"]:
        kinds = (one["float32"], one["int8"])
        sizes, right = ([kind[key] for kind in kinds] for key in ("bytes", "accuracy"))
        cells = [*(f"{size / 1e6:.2f} MB" for size in sizes), *(f"{rate:.1f} %" for rate in (*right, one["same"]))]
        rows.append([one["name"], f"{one['multiply_adds'] / 1e6:.0f} M", *cells])
    heads = ["network", "multiply-adds", "float32", "int8", "right in float32", "in int8", "the same class"]
    worst = max(one["float32"]["accuracy"] - one["int8"]["accuracy"] for one in result["networks"])
    about = (
        f"Trained for {result['steps']} steps on 360 synthetic clips of {features.FRAMES}×{features.SIZE}×"
        f"{features.SIZE}, tested on 360; the Inceptions have an eighth of their channels. int8 loses at most "
        f"{max(worst, 0.0):.2f} points, asked is at most {LIMIT:g}. {result['hardware']}, one thread for each network."
    )
    return "\n".join([*table(heads, rows), "", about, ""])


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        networks = list(pool.map(partial(measure, steps=options.steps), options.networks))
    record.write_run("benchmarks.speed.int8", {"networks": networks, "steps": options.steps}, markdown)


if __name__ == "__main__":
    main(options)
