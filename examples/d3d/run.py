"""The whole recipe: flow, teacher, RGB network, D3D, and the report with its pictures.

python -m examples.d3d.run pocket
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from examples.d3d import clips, report
from examples.d3d.config import Config, parse, plain_errors
from examples.d3d.evaluate import cached_scores
from examples.d3d.methods import D3D, FLOW, RGB
from examples.d3d.students import train_method
from examples.d3d.train import make_accelerator


@dataclass(frozen=True)
class Trained:
    """The three networks of one seed, by the paper's names: their weights and their scores on the test clips."""

    seed: int
    weights: dict[str, Path]
    scores: dict[str, Tensor]


def one_seed(config: Config, seed: int, accelerator: Accelerator) -> Trained:
    """Train and measure the three networks of one seed; what was done before is read back."""
    # The teacher first: a wrong --teacher ends the run before anything is trained.
    weights = {method: train_method(config, method, seed, accelerator) for method in (FLOW, RGB, D3D)}
    shown = {method.name: weights[method] for method in (RGB, FLOW, D3D)}
    _, test = clips.manifests(config)
    store = clips.prepare(config, test, accelerator, what="test clips")
    scores = {name: cached_scores(path, config, test, store, accelerator) for name, path in shown.items()}
    return Trained(seed, shown, scores)


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Run everything for all seeds and write the report."""
    config = parse(arguments)
    accelerator = make_accelerator(config)
    train, test = clips.manifests(config)
    trained = [one_seed(config, seed, accelerator) for seed in config.seeds]
    if accelerator.is_main_process:
        report.write(config, trained, train, test)
    accelerator.end_training()


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
