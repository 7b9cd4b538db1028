"""Train an action detector on a video network: the recipe's S3D-G or D3D, or any other that kdvideo loads.

python -m examples.ava.train pocket --weights runs/d3d/student.safetensors
"""

from __future__ import annotations

from examples.ava.config import Config, parse
from examples.d3d.config import plain_errors

if __name__ == "__main__":
    plain_errors(parse)()  # --help and wrong flags end here, before the imports take their seconds

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor, nn

import kdvideo as kd
from examples.ava import detectors
from examples.ava.windows import Split, Windows, collate, open_split
from examples.d3d.batches import Batch, Training
from examples.d3d.training import fit
from kdvideo.detection import detection_loss
from kdvideo.models import InputSpec, Network
from kdvideo.training import claim_folder


def make_accelerator(config: Config) -> Accelerator:
    """Make one Accelerator for all trainings of a process; the layers behind the tapped one get no gradient."""
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision=config.mixed_precision, kwargs_handlers=[unused])


def train(config: Config, weights: Path, seed: int, accelerator: Accelerator, *, folder: Path | None = None) -> Path:
    """Train a detector on the network of a file, unless that is done; a training that was stopped continues.

    Args:
        config: the settings.
        weights: the file of the network.
        seed: of the head, the windows and dropout.
        accelerator: of `make_accelerator`.
        folder: of the detector; None: the seed's in `config.output_dir`.

    Returns:
        The folder of the trained detector.

    Raises:
        ValueError: files of the data are missing or bad, the network does not see RGB or has no such layer, or the
            folder holds a training with other settings.
    """
    split = open_split(config, "train")
    accelerator.print(split.report)
    network, names = detectors.pretrained(weights)
    folder = folder or config.output_dir / f"seed{seed}"
    claim_folder(folder, decisive(config, network, split, seed))
    if not (folder / detectors.HEAD).exists():
        options: dict[str, Any] = {"box_layers": config.box_layers, "dropout": config.dropout, "seed": seed}
        model = detectors.build(network, config.layer, len(split.classes), **options)
        detectors.set_training(model, frozen_statistics=config.frozen_statistics)
        training = Training(
            f"detector seed {seed}",
            folder,
            model,
            partial(losses, spec=network.input_spec, box_weight=config.box_weight),
            Windows(split, config, train=True, seed=seed),
            config.optimizer,
            seed,
            collate=collate,
            num_workers=config.num_workers,
            checkpointing_steps=config.checkpointing_steps,
        )
        trained = fit(training, accelerator)
        if accelerator.is_main_process:
            detectors.save(trained, folder, config, names, split.classes)
    accelerator.wait_for_everyone()
    return folder


def losses(model: nn.Module, batch: Batch, *, spec: InputSpec, box_weight: float = 1.0) -> dict[str, Tensor]:
    """Compute the two terms of the loss of one batch; the clips are fed as the network is to see them."""
    output = model(spec.prepare(batch["clip"]), batch["proposals"])
    found = detection_loss(output, batch["proposals"], batch["boxes"], batch["labels"])
    return {"actions": found.actions, "boxes": box_weight * found.boxes}


def decisive(config: Config, network: Network, split: Split, seed: int) -> dict[str, Any]:
    """Return everything that decides the outcome of a training."""
    names = ("clip_start", "layer", "frozen_statistics", "dropout", "box_weight", "mixed_precision")
    return {
        "seed": seed,
        "weights": kd.cache.weights_fingerprint(network),
        "fed": asdict(network.input_spec),
        "data": split.fingerprint,
        "input": asdict(config.input),
        "optimizer": asdict(config.optimizer),
        **{name: getattr(config, name) for name in names},
        **({"box_layers": config.box_layers} if config.box_layers else {}),
    }


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one detector per seed and print where it is."""
    config = parse(arguments)
    if config.weights is None:
        raise ValueError("--weights must name the network, as in --weights runs/d3d/student.safetensors")
    accelerator = make_accelerator(config)
    for seed in config.seeds:
        accelerator.print(f"detector, seed {seed}: {train(config, config.weights, seed, accelerator)}")
    accelerator.end_training()


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
