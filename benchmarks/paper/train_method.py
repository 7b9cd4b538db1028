"""Train any method of the tables on clips of your own, with the networks that it builds on.

    python -m benchmarks.paper.train_method pocket --method D3D_4C
    python -m benchmarks.paper.train_method pocket --train TRAIN --test TEST --method RGB --init-from d3d.safetensors

The settings are those of examples.d3d.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.paper import methods, trained_networks
from benchmarks.paper.lab import Lab
from examples.d3d.config import PRESETS, Config, plain_errors
from examples.d3d.training import make_accelerator
from kdvideo.training import accuracy


@dataclass(frozen=True)
class MethodConfig(Config):
    """The recipe's settings, and which method is trained with them."""

    method: str = "D3D"
    """A name from benchmarks/paper/methods.py, such as D3D_2C."""
    init_from: Path | None = None
    """Trained weights with which the network starts, with a fresh classifier; its teachers start as ever."""

    def __post_init__(self) -> None:
        super().__post_init__()
        methods.named(self.method)


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one network per seed, and print where its weights are and how accurate it is."""
    fields = [one.name for one in dataclasses.fields(Config)]
    presets = {
        name: (text, MethodConfig(**{field: getattr(preset, field) for field in fields}))
        for name, (text, preset) in PRESETS.items()
    }
    config = tyro.extras.overridable_config_cli(presets, args=arguments)
    lab, method = Lab(config, make_accelerator(config)), methods.named(config.method)
    start = trained_networks.given(config.init_from) if config.init_from else None
    for seed in config.seeds:
        trained = lab.train(method, seed, start=start)
        top1 = accuracy(lab.scores(trained), lab.labels)
        lab.accelerator.print(f"{method.name}, seed {seed}: top-1 {top1:.3f}, {trained.path}")


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
