"""Train the teacher: S3D-G on TV-L1 flow, with the action loss.

python -m examples.d3d.train_teacher pocket
"""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from examples.d3d.config import Config, parse, plain_errors
from examples.d3d.methods import FLOW
from examples.d3d.students import train_method
from examples.d3d.train import make_accelerator


def teacher(config: Config, seed: int, accelerator: Accelerator) -> Path:
    """Weights of the flow network: those that ``--teacher`` names, or trained here unless that was done before."""
    return train_method(config, FLOW, seed, accelerator)


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one teacher per seed and print where its weights are."""
    config = parse(arguments)
    accelerator = make_accelerator(config)
    for seed in config.seeds:
        accelerator.print(f"teacher, seed {seed}: {teacher(config, seed, accelerator)}")


if __name__ == "__main__":
    main()
