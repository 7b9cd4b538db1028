"""TV-L1 flow: speed, errors, what a training step costs with it, and what it takes to store.

    python -m benchmarks.speed.flow                          # all parts; about half an hour on two cores
    python -m benchmarks.speed.flow --only speed accuracy

Every comparison runs side by side in one process, each arm once per round, with one arm twice as the control (A/A);
ratios are formed within a round. Frames come from real clips. Run it on an otherwise idle machine. The GPU parts run
where there is a CUDA device; where OpenCV or a decoder is missing, --frames takes the pairs from a file that
--save-frames wrote elsewhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path("../shared/data")
    parts = ("speed", "accuracy", "estimators", "steps", "stores", "gpu_speed", "gpu_steps")
    parser.add_argument("--clips", type=Path, default=data / "clips", help="folder of real videos")
    parser.add_argument("--rubberwhale", type=Path, default=data / "flow_rubberwhale", help="Middlebury's pair")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="some of the parts")
    parser.add_argument("--pairs", type=int, default=16, help="of frames")
    parser.add_argument("--rounds", type=int, default=5, help="that alternate between what is compared")
    parser.add_argument("--step-rounds", type=int, default=30, help="of the part steps")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")
    parser.add_argument("--frames", type=Path, help="frame pairs from this file instead of from --clips")
    parser.add_argument("--save-frames", type=Path, help="only write the frame pairs to this file")
    options = parser.parse_args()

import json
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks import record
from benchmarks.speed.flow_parts import accuracy, estimators, flow_tables, real_frames, speeds, stores, training_steps


def main(options: argparse.Namespace) -> None:
    """Measure the parts asked for; the record keeps the latest of each."""
    if options.save_frames:
        save_file({_key(size): _pairs(options, size) for size in speeds.SIZES}, options.save_frames)
        return
    torch.set_num_threads(options.threads)
    for part in options.only:
        if part.startswith("gpu_") and not torch.cuda.is_available():
            print(f"{part}: no CUDA device, not run")
            continue
        result = MEASURES[part](options)
        environment = record.environment(f"python -m benchmarks.speed.flow --only {part}", options.threads)
        record.update("speed_flow", part, {"result": result, "environment": environment}, flow_tables.markdown)
        print(json.dumps(result, indent=1), flush=True)


def _key(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _pairs(options: argparse.Namespace, size: tuple[int, int]) -> Tensor:
    if options.frames:
        return load_file(options.frames)[_key(size)]
    return real_frames.load_pairs(options.clips, size, options.pairs)


def _by_size(measure: Callable[[Tensor], dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    return {_key(size): measure(_pairs(options, size)) for size in speeds.SIZES}


MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "speed": lambda o: _by_size(lambda pairs: speeds.on_cpu(pairs, o.threads, o.rounds), o),
    "accuracy": lambda o: accuracy.measure(o.clips, o.rubberwhale, o.threads),
    "estimators": lambda o: estimators.measure(_pairs(o, (224, 224))[:, :1], o.rubberwhale, o.rounds),
    "steps": lambda o: training_steps.measure(o.step_rounds, "cpu"),
    "stores": lambda o: stores.measure(o.clips),
    "gpu_speed": lambda o: _by_size(lambda pairs: speeds.on_gpu(pairs, o.rounds), o),
    "gpu_steps": lambda o: training_steps.measure(o.step_rounds, "cuda"),
}


if __name__ == "__main__":
    main(options)
