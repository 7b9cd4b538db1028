"""Count every network's parameters, and the multiply-adds of one clip; nothing is timed.

    python -m benchmarks.speed.networks

Each is counted at the clip that its published weights were fed (`input_spec`); timm's are counted on one frame, the
detectors with one box. Clips per second are measured by `benchmarks.speed.models` and joined in from its record.
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks import record
from benchmarks.markdown import table, where
from kdvideo import models, training
from kdvideo.models.adapters.torchvision import INPUT_SPECS
from kdvideo.models.network import Network

Record = dict[str, Any]
COMMAND = "python -m benchmarks.speed.networks"


def rows() -> dict[str, Callable[[], Network]]:
    """Return the builder of every row by its name, in the table's order."""
    own: dict[str, Callable[[], Network]] = {
        "S3D-G": models.s3dg,
        "S3D-G, flow": partial(models.s3dg, in_channels=2),
        "NL S3D-G": partial(models.s3dg, non_local=models.NON_LOCAL),
        "S3D": models.s3d,
        "I3D": models.i3d,
        "I3D, flow": partial(models.i3d, in_channels=2),
    }
    hub = {
        f"pytorchvideo {name}": partial(models.pytorchvideo, name, num_classes=spec.num_classes)
        for name, spec in sorted(models.BACKBONES.items())
    }
    video = {f"torchvision {name}": partial(models.torchvision, name) for name in sorted(INPUT_SPECS)}
    images = {
        f"timm {name}": partial(models.timm, name, num_classes=1000) for name in ("resnet50", "vit_small_patch16_224")
    }
    return {**own, **hub, **video, **images}


def measure(name: str) -> Record:
    """Count the parameters and multiply-adds of one row."""
    # pytorchvideo's MViT reads the values of a tensor while it is built.
    with torch.device("cpu" if "mvit_base" in name else "meta"):
        model = rows()[name]()
    boxes = (torch.empty(1, 5, device="meta"),) if name.endswith("detection") else ()
    row = models.summary(model, *boxes)
    return {**row, "input": list(row["input"]), "classes": model.num_classes}


def markdown(result: Record, speeds: Record) -> str:
    """Render the table.

    Args:
        result: the record of this benchmark.
        speeds: the part of the record of `benchmarks.speed.models` with clips per second, empty where it was not run.
    """
    headings = ("network", "classes", "input (C × T × H × W)", "parameters (M)", "multiply-adds (G)", "clips/s (GPU)")
    rates, rows = speeds.get("result", {}), []
    for name, row in result["rows"].items():
        size = " × ".join(map(str, row["input"]))
        cost = f"{row['parameters'] / 1e6:.2f}", f"{row['multiply_adds'] / 1e9:.2f}"
        rate = rates.get(name, {}).get("clips_per_s")
        rows.append((name, str(row["classes"]), size, *cost, f"{rate['median']:.1f}" if rate else "not run"))
    versions = ", ".join(f"{package} {number}" for package, number in result["versions"].items())
    lines = [*table(headings, rows), "", "Counted for one clip: timm's networks on one frame, detectors with one box."]
    lines += ["", f"*{versions}; {result['date']}; `{result['command']}`*"]
    return "\n".join([*lines, *(["", f"Clips per second: {where(speeds['environment'])}"] if speeds else []), ""])


def clips_per_second() -> Record:
    """Read the clips per second of every row from the record of `benchmarks.speed.models`; empty without it."""
    path = record.FOLDER / "speed_models.json"
    known: Record = json.loads(path.read_text()) if path.exists() else {}
    part: Record = known.get("backbones_gpu", {})
    return part


def main() -> None:
    """Count all rows and write the record."""
    environment = training.environment(COMMAND, packages=("kdvideo", "torch", "pytorchvideo", "torchvision", "timm"))
    about = {key: environment[key] for key in ("command", "commit", "date", "versions")}
    result = {"rows": {name: measure(name) for name in rows()}, **about}
    record.write("networks", result, partial(markdown, speeds=clips_per_second()))


if __name__ == "__main__":
    main()
