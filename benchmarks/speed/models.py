"""Networks: S3D beside torchvision's, the share of the roofline, growth with frames and size, D3D beside two streams.

    python -m benchmarks.speed.models                     # all parts that this machine can run
    python -m benchmarks.speed.models --only inference    # one part; the record keeps the latest of each

Every comparison runs side by side in one process, each arm once per round, with one arm twice as the control (A/A);
ratios are formed within a round. On a CPU clips are small; absolute times are reported from a GPU only.
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["inference", "training", "growth", "two_stream", "roofline", "backbones"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="some of the parts")
    parser.add_argument("--rounds", type=int, default=10, help="that alternate between what is compared")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")
    options = parser.parse_args()

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks import record
from benchmarks.speed.network_parts import measures, network_tables

PARTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "inference": partial(measures.torchvision, kind="inference"),
    "training": partial(measures.torchvision, kind="training"),
    "growth": measures.growth,
    "two_stream": measures.two_stream,
    "roofline": measures.roof,
    "backbones": measures.backbones,
}
GPU_ONLY = ("roofline", "backbones")


def main(options: argparse.Namespace) -> None:
    """Measure the parts asked for."""
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    device = "gpu" if torch.cuda.is_available() else "cpu"
    for part in options.only:
        if device == "cpu" and part in GPU_ONLY:
            print(f"{part}: no CUDA device, not run")
            continue
        result = PARTS[part](options.rounds)
        command = f"python -m benchmarks.speed.models --only {part} --rounds {options.rounds}"
        entry = {"result": result, "environment": record.environment(command, options.threads)}
        record.update("speed_models", f"{part}_{device}", entry, network_tables.markdown)
        torch.compiler.reset()


if __name__ == "__main__":
    main(options)
