"""Train a student: D3D unless another method is named, or S3D-G on RGB alone with --distill-weight 0.

python -m examples.d3d.train_student pocket
python -m examples.d3d.train_student pocket --flow-from cache --distinct-views 8
python -m examples.d3d.train_student pocket --method D3D_2C
"""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from examples.d3d import methods
from examples.d3d.config import Config, parse, plain_errors
from examples.d3d.students import train_method
from examples.d3d.train import make_accelerator


def student(config: Config, seed: int, accelerator: Accelerator) -> Path:
    """Weights of the method that the settings name; its teacher is trained first where there is none yet."""
    return train_method(config, methods.named(config.method), seed, accelerator)


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one student per seed and print where its weights are."""
    config = parse(arguments)
    accelerator = make_accelerator(config)
    for seed in config.seeds:
        accelerator.print(f"{config.method}, seed {seed}: {student(config, seed, accelerator)}")


if __name__ == "__main__":
    main()
