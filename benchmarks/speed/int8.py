"""Measure what int8 weights cost in accuracy, on networks that learn synthetic clips: size, speed, right classes.

Each network learns the clips of `examples/features.py` from labels, is written as ONNX with float32 and int8 weights,
and both programs name new clips. Speeds are of one clip in one thread, eager, float32 and int8 once a round.

    python -m benchmarks.speed.int8
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import record
from benchmarks.markdown import table
from examples import features
from kdvideo import models
from kdvideo.data import synthetic
from kdvideo.models.export_formats import from_onnx
from kdvideo.training import Timings

LIMIT = 1.0  # points of accuracy
TINY = {"depth_multiplier": 0.25, "min_depth": 8, "dropout": 0.0}
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
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(steps):
        at = torch.randint(len(clips), (32,))
        optimizer.zero_grad()
        F.cross_entropy(network.train()(SPEC.prepare(clips[at])), labels[at]).backward()
        optimizer.step()
        rate.step()
    network.eval()


def measure(name: str, steps: int, rounds: int) -> dict[str, Any]:
    """Train one network, export it twice and compare."""
    torch.manual_seed(0)
    network = NETWORKS[name](len(synthetic.CLASSES))
    (videos, labels), (others, truth) = features.render(100, "train", 0), features.render(100, "test", 0)
    learn(network, videos.transpose(1, 2), labels, steps)
    network.input_spec, raw = SPEC, others.transpose(1, 2).contiguous()
    arms: dict[str, Any] = {"eager": lambda: network(SPEC.prepare(raw[:1]))}
    found: dict[str, Any] = {"name": name, **models.summary(network)}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        classes = {}
        for kind in ("float32", "int8"):
            data = models.export(network, Path(folder, f"{kind}.onnx"), int8=kind == "int8").path.read_bytes()
            run = from_onnx(data)
            classes[kind] = torch.cat([run(part).argmax(1) for part in torch.split(raw, 50)])
            right = 100 * float((classes[kind] == truth).float().mean())
            found[kind] = {"bytes": len(data), "accuracy": round(right, 2)}
            arms[kind] = partial(run, raw[:1])
        times = Timings(arms, rounds, warm=2, shuffle=True, quiet=True)
    for kind in classes:
        found[kind]["speed"] = times.ratio(kind, "eager")
    found["same"] = round(100 * float((classes["float32"] == classes["int8"]).float().mean()), 2)
    return found


def markdown(result: dict[str, Any]) -> str:
    """Render the record."""
    rows = []
    for one in result["networks"]:
        exact, small = one["float32"], one["int8"]
        rows.append(
            [
                one["name"],
                f"{one['multiply_adds'] / 1e6:.0f} M",
                *(f"{kind['bytes'] / 1e6:.2f} MB" for kind in (exact, small)),
                *(f"{kind['speed']['median']:.2f}×" for kind in (exact, small)),
                *(f"{kind['accuracy']:.1f} %" for kind in (exact, small)),
                f"{one['same']:.1f} %",
            ]
        )
    heads = ["network", "multiply-adds", "ONNX", "int8", "clips/s, eager = 1", "int8", "right", "int8", "same class"]
    worst = max(one["float32"]["accuracy"] - one["int8"]["accuracy"] for one in result["networks"])
    about = (
        f"Trained for {result['steps']} steps on 600 synthetic clips of {features.FRAMES}×{features.SIZE}×"
        f"{features.SIZE}, tested on 600; the Inceptions have a quarter of their channels. int8 loses at most "
        f"{max(worst, 0.0):.2f} points, asked is at most {LIMIT:g}. {result['hardware']}, {result['threads']} thread, "
        f"{result['rounds']} rounds, load average {result['load_average']}."
    )
    return "\n".join([*table(heads, rows), "", about, ""])


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = []
    for name in options.networks:
        networks.append(measure(name, options.steps, options.rounds))
        print(networks[-1], flush=True)
    environment = record.environment("python -m benchmarks.speed.int8", 1)
    found = {"networks": networks, "steps": options.steps, "rounds": options.rounds, **environment}
    record.write("speed_int8", {"benchmark": "speed_int8", **found}, markdown)


if __name__ == "__main__":
    main()
