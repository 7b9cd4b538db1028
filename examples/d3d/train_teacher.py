"""Train a network on one stream with the action loss: the teacher on flow, or S3D-G on RGB alone.

python -m examples.d3d.train_teacher pocket
"""

from __future__ import annotations

from examples.d3d.config import Config, parse, plain_errors

if __name__ == "__main__":
    plain_errors(parse)()  # --help and wrong flags end here, before the imports take their seconds

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from examples.d3d import networks, starts
from examples.d3d.batches import Batch, Losses, Training, unchanged
from examples.d3d.checking import checked
from examples.d3d.data import Clips, fingerprint, open_clips, prepare
from examples.d3d.evaluate import scores
from examples.d3d.teaching import online
from examples.d3d.training import fit, make_accelerator
from kdvideo import data, models
from kdvideo.training import accuracy, claim_folder

WEIGHTS = "model.safetensors"
NAMES = {"rgb": "S3D-G RGB", "flow": "S3D-G Flow", "d3d": "D3D"}
ORDER = ("flow", "rgb", "d3d")  # in which a run trains them
Setup = tuple[data.PairedClips, Losses, Callable[[Batch], Batch]]


def train_stream(config: Config, clips: Clips, stream: str, seed: int, accelerator: Accelerator) -> models.Network:
    """Train S3D-G on "rgb" or "flow" in its folder, unless that is done; the flow network is the teacher.

    Raises:
        ValueError: `config.teacher` does not fit, or the folder holds a training with other settings.
    """
    if stream == "flow" and config.teacher:
        return networks.load(config.teacher, clips, stream="flow")[0]

    def losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"action": F.cross_entropy(network(batch[stream]).float(), batch["label"])}

    def setup() -> Setup:
        if stream == "flow" and not clips.stores_flow:
            return clips.views(clips.train, train=True, seed=seed), losses, online(clips)
        source = prepare(clips, clips.train, accelerator) if stream == "flow" else None
        return clips.views(clips.train, source, train=True, rgb=stream == "rgb", seed=seed), losses, unchanged

    decisive = {"flow": clips.estimator.fingerprint, "stored": clips.stores_flow} if stream == "flow" else {}
    return train_s3dg(config, clips, stream, stream, seed, decisive, setup, accelerator)


def train_s3dg(
    config: Config,
    clips: Clips,
    name: str,
    stream: str,
    seed: int,
    decisive: dict[str, Any],
    setup: Callable[[], Setup],
    accelerator: Accelerator,
) -> models.Network:
    """Train S3D-G in the folder of its name, unless that is done; return what the file holds.

    Args:
        config: the settings.
        clips: the clips.
        name: of the folder, a key of `NAMES`.
        stream: what the network sees.
        seed: of the network, the views and dropout.
        decisive: what decides the outcome besides the settings that all trainings have.
        setup: gives the views, the losses and what happens to a batch on its device, where there is something to do.
        accelerator: the one of the run.
    """
    folder = config.folder(seed, name)
    common = {
        "seed": seed,
        "data": fingerprint(clips.train),
        "input": {key: value for key, value in clips.seen(stream).items() if key != "flow"},
        "optimizer": asdict(config.optimizer),
        "network": starts.decisive(config.network),
        "mixed_precision": config.mixed_precision,
        "accumulate": config.gradient_accumulation_steps,
        **config.rounding,
    }
    claim_folder(folder, common | decisive)
    if not (folder / WEIGHTS).exists():
        views, losses, on_device = setup()
        training = Training(
            f"{NAMES[name]} seed {seed}",
            folder,
            starts.start(config.network, stream, len(clips.classes), seed).train(),
            losses,
            clips.readable(views),
            config.optimizer,
            seed,
            on_device,
            num_workers=config.num_workers,
            checkpointing_steps=config.checkpointing_steps,
            measure=lambda network: _top1(network, stream, config, clips, accelerator),
            measure_every=config.test_every,
            later=later(config, seed, name),
            accumulate=config.gradient_accumulation_steps,
            channels_last=config.channels_last,
            compile=config.compile,
            **config.guards,
        )
        network = fit(training, accelerator)
        if accelerator.is_main_process:
            networks.save(network, folder / WEIGHTS, clips, stream)
    accelerator.wait_for_everyone()
    return networks.load(folder / WEIGHTS, clips, stream=stream)[0]


def _top1(network: Any, stream: str, config: Config, clips: Clips, accelerator: Accelerator) -> float:
    found = scores(network, stream, clips, config, accelerator, quiet=True)
    return accuracy(found, torch.tensor(clips.test["label"]))


def later(config: Config, seed: int, name: str) -> int:
    """Count the steps of the trainings that a whole run makes after one of them; what has begun takes none."""
    order = [(one, network) for one in config.seeds for network in ORDER if not (network == "flow" and config.teacher)]
    todo = [one for one in order if one == (seed, name) or not config.folder(*one).exists()]
    return config.optimizer.steps * (len(todo) - 1 - todo.index((seed, name)))


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one teacher per seed."""
    config = parse(arguments)
    accelerator = make_accelerator(config)
    clips = checked(open_clips(config), config, accelerator)
    for seed in config.seeds:
        train_stream(config, clips, "flow", seed, accelerator)
        accelerator.print(f"teacher, seed {seed}: {config.teacher or config.folder(seed, 'flow') / WEIGHTS}")


if __name__ == "__main__":
    main()
