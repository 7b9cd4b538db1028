"""Train any method of the tables on clips of your own, with the networks that it builds on.

    python -m benchmarks.paper.train_method pocket --method D3D_4C
    python -m benchmarks.paper.train_method pocket --train TRAIN --test TEST --method RGB --init-from d3d.safetensors

The settings are those of examples.d3d.
"""

from __future__ import annotations

from benchmarks.paper.method_config import parse
from examples.d3d.config import plain_errors

if __name__ == "__main__":
    plain_errors(parse)()  # --help and wrong flags end here, before the imports take their seconds

import torch

from benchmarks.paper import methods, trained_networks
from benchmarks.paper.lab import Lab
from examples.d3d.training import make_accelerator
from kdvideo.training import accuracy


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one network per seed, and print where its weights are and how accurate it is."""
    config = parse(arguments)
    lab, method = Lab(config, make_accelerator(config)), methods.named(config.method)
    start = trained_networks.given(config.init_from) if config.init_from else None
    for seed in config.seeds:
        trained = lab.train(method, seed, start=start)
        top1 = accuracy(lab.scores(trained), lab.labels)
        lab.accelerator.print(f"{method.name}, seed {seed}: top-1 {top1:.3f}, {trained.path}")


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
