"""The whole recipe: flow, teacher, RGB network, D3D, and the report with its pictures.

python -m examples.d3d.run pocket
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import Tensor

from examples.d3d import clips, report
from examples.d3d.config import Config, parse, plain_errors
from examples.d3d.evaluate import weights_scores
from examples.d3d.train import make_accelerator
from examples.d3d.train_student import student
from examples.d3d.train_teacher import teacher
from kdvideo.flow import FlowSource


@dataclass(frozen=True)
class Trained:
    """The three networks of one seed, by the paper's names: their weights and their scores on the test clips."""

    seed: int
    weights: dict[str, Path]
    scores: dict[str, Tensor]


def one_seed(config: Config, seed: int, accelerator: Accelerator) -> Trained:
    """Train and measure the three networks of one seed; what was done before is read back."""
    taught_by = teacher(config, seed, accelerator)  # first: a wrong --teacher ends the run before anything is trained
    weights = {
        "S3D-G RGB": student(dataclasses.replace(config, distill_weight=0.0), seed, accelerator),
        "S3D-G Flow": taught_by,
        "D3D": student(config, seed, accelerator),
    }
    _, test = clips.manifests(config)
    store = clips.prepare(config, test, accelerator, what="test clips")
    scores = {name: _scores(path, config, test, store, accelerator) for name, path in weights.items()}
    return Trained(seed, weights, scores)


def _scores(path: Path, config: Config, test: Dataset, store: FlowSource, accelerator: Accelerator) -> Tensor:
    settings = [
        clips.file_hash(path),
        clips.fingerprint(test),
        asdict(config.input),
        clips.estimator(config).fingerprint,
    ]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    cached = config.work_dir / "scores" / f"{key}.safetensors"
    if not cached.exists():
        result = weights_scores(path, config, test, store, accelerator)
        if accelerator.is_main_process:
            cached.parent.mkdir(parents=True, exist_ok=True)
            save_file({"scores": result}, cached)
        accelerator.wait_for_everyone()
    return load_file(cached)["scores"]


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
