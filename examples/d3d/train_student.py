"""Train the student: S3D-G on RGB, taught by the flow network (D3D), or alone with --distill-weight 0 (S3D-G).

python -m examples.d3d.train_student pocket
python -m examples.d3d.train_student pocket --flow-from cache --distinct-views 8
"""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from examples.d3d import clips
from examples.d3d.config import Config, parse, plain_errors
from examples.d3d.runs import Run
from examples.d3d.train import fit, make_accelerator
from examples.d3d.train_teacher import teacher


def student(config: Config, seed: int, accelerator: Accelerator) -> Path:
    """Weights of the RGB network; its teacher is trained first where there is none yet."""
    train, _ = clips.manifests(config)
    if config.distill_weight == 0:
        return fit(Run(config, accelerator, "rgb", seed, train))
    return fit(Run(config, accelerator, "rgb", seed, train, teacher(config, seed, accelerator)))


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one student per seed and print where its weights are."""
    config = parse(arguments)
    accelerator = make_accelerator(config)
    for seed in config.seeds:
        accelerator.print(f"student, seed {seed}: {student(config, seed, accelerator)}")


if __name__ == "__main__":
    main()
