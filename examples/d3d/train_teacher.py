"""Train the teacher: S3D-G on TV-L1 flow, with the action loss.

python -m examples.d3d.train_teacher pocket
"""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from examples.d3d import clips
from examples.d3d.config import Config, parse, plain_errors
from examples.d3d.runs import Run
from examples.d3d.train import fit, make_accelerator
from kdvideo import models


def teacher(config: Config, seed: int, accelerator: Accelerator) -> Path:
    """Weights of the flow network: those that ``--teacher`` names, or trained here unless that was done before."""
    train, _ = clips.manifests(config)
    if config.teacher is None:
        return fit(Run(config, accelerator, "flow", seed, train))
    _, info = models.checkpoints.load(config.teacher)
    clips.check_flow(config.teacher, info["input"], config)
    clips.check_classes(config.teacher, info["classes"], train)
    return config.teacher


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one teacher per seed and print where its weights are."""
    config = parse(arguments)
    accelerator = make_accelerator(config)
    for seed in config.seeds:
        accelerator.print(f"teacher, seed {seed}: {teacher(config, seed, accelerator)}")


if __name__ == "__main__":
    main()
