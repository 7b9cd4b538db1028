"""Measure features without flow: `examples/features.py` with several seeds, which also draw the clips.

    python -m benchmarks.flow_free --workers 2

Clips of a class and steps were chosen on a validation split of seed 0, on which no row of the table is measured.
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3], help="of networks and clips")
    parser.add_argument("--workers", type=int, default=1, help="seeds at a time")
    parser.add_argument("--clips", type=int, default=150, help="of each class, for training")
    parser.add_argument("--steps", type=int, default=400, help="of a training")
    parser.add_argument("--tested", type=int, default=100, help="clips of each class")
    options = parser.parse_args()

import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks import record
from benchmarks.markdown import table
from examples import features

FREE, WITH = "rgb + flow-free", "rgb + flow"
LIMITS = {"accuracy": 0.95, "cost": 1 / 3}


def one(seed: int, clips: int, steps: int, tested: int) -> dict[str, Any]:
    """Run the example with a seed, in one thread."""
    torch.set_num_threads(1)
    cosine, rows = features.compare(clips, steps, tested=tested, seed=seed)
    accuracy, cost = ({name: values[i] for name, values in rows.items()} for i in (0, 1))
    ratios = {name: {"accuracy": accuracy[name] / accuracy[WITH], "cost": cost[name] / cost[WITH]} for name in rows}
    seconds = features.FRAMES / features.FPS
    real_time = {name: one / seconds for name, one in cost.items()}
    return {"seed": seed, "cosine": cosine, "accuracy": accuracy, "ratio": ratios, "real_time": real_time}


def markdown(result: dict[str, Any]) -> str:
    """Render the record."""
    seeds = result["seeds"]
    rows = []
    for name in seeds[0]["accuracy"]:
        shares, costs = ([one["ratio"][name][key] for one in seeds] for key in ("accuracy", "cost"))
        rates, times = ([one[key][name] for one in seeds] for key in ("accuracy", "real_time"))
        cells = [f"{_spread(rates, 1)} %", _spread(shares, 3), _spread(costs, 3), _spread(times, 4)]
        rows.append([name.replace("rgb", "RGB"), *cells])
    cosine = _spread([one["cosine"] for one in seeds], 3)
    about = (
        f"Mean ± standard error over {len(seeds)} seeds. Asked of RGB + flow-free: accuracy at least "
        f"{LIMITS['accuracy']} and cost at most {LIMITS['cost']:.2f} of RGB + flow. Cosine of flow-free features to "
        f"those of flow, less their mean: {cosine}. Of each of six classes {result['clips']} clips to train on and "
        f"{result['tested']} to test, {result['steps']} steps; the cost is processor time, TV-L1 included. "
        f"{result['hardware']}, one thread for each seed."
    )
    heads = [
        "features",
        "linear probe",
        "accuracy, RGB + flow = 1",
        "cost of a clip, RGB + flow = 1",
        "times real time",
    ]
    return "\n".join([*table(heads, rows), "", about, ""])


def _spread(values: list[float], digits: int) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    setting = {"clips": options.clips, "steps": options.steps, "tested": options.tested}
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        seeds = list(pool.map(partial(one, **setting), options.seeds))
    record.write_run("benchmarks.flow_free", {**setting, "seeds": seeds}, markdown)


if __name__ == "__main__":
    main(options)
