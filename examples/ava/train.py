"""Train an action detector on a video network: the recipe's S3D-G or D3D, or any other that kdvideo loads.

python -m examples.ava.train pocket --weights runs/d3d/student.safetensors
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import tqdm
from torch import Tensor, nn
from torch.utils.data import DataLoader

from examples.ava import clips, detector
from examples.ava.clips import Split, Windows
from examples.ava.config import Config, parse
from examples.d3d.clips import file_hash
from examples.d3d.config import plain_errors
from examples.d3d.networks import learning_rate, make_optimizer
from examples.d3d.train import any_process
from kdvideo.detection import Detector, detection_loss
from kdvideo.models import InputSpec
from kdvideo.training import Checkpoints, StepSampler, StopRequest, ignore_signals, step_seed


class Run:
    """One training, named by everything that decides its outcome, so that an equal one is never done twice."""

    def __init__(self, config: Config, accelerator: Accelerator, weights: Path, seed: int, train: Split) -> None:
        self.config, self.accelerator, self.weights = config, accelerator, weights
        self.seed, self.train = seed, train
        decisive = ("clip_start", "layer", "frozen_statistics", "dropout", "box_weight", "mixed_precision")
        self.settings: dict[str, Any] = {
            "seed": seed,
            "weights": file_hash(weights),
            "data": train.fingerprint,
            "input": asdict(config.input),
            "optimizer": asdict(config.optimizer),
            "processes": accelerator.num_processes,
            **{name: getattr(config, name) for name in decisive},
        }
        key = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = config.work_dir / "detectors" / key
        self.log = self.folder / "log.jsonl"

    @property
    def done(self) -> bool:
        """Whether the detector is there."""
        return (self.folder / detector.HEAD).exists()


def make_accelerator(config: Config) -> Accelerator:
    """One Accelerator for all trainings of a process; the layers behind the tapped one get no gradient."""
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision=config.mixed_precision, kwargs_handlers=[unused])


def train(config: Config, weights: Path, seed: int, accelerator: Accelerator) -> Path:
    """The folder of the detector on the network of a file, trained unless that was done before.

    It resumes from the newest checkpoint. A Ctrl-C or SIGTERM ends the process after the current step, with a
    checkpoint from which the same command continues.
    """
    found = clips.split(config, "train")
    accelerator.print(found.report)
    run = Run(config, accelerator, weights, seed, found)
    if not run.done:
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "settings.json").write_text(json.dumps(run.settings, indent=2))
        network = _fit(run)
        if accelerator.is_main_process:
            detector.save(network, run.folder, config, weights, found.classes)
        accelerator.wait_for_everyone()
    return run.folder


def _fit(run: Run) -> Detector:
    config, accelerator = run.config, run.accelerator
    network = detector.build(config, run.weights, len(run.train.classes), run.seed)
    model, optimizer = accelerator.prepare(network, make_optimizer(network, config.optimizer))
    checkpoints = Checkpoints(run.folder / "checkpoints")
    start = _resume(run, checkpoints, network, optimizer)
    detector.train_mode(network, config)
    with StopRequest() as stop:
        for step in _steps(run, model, detector.input_spec(network), optimizer, start):
            last, asked = step == config.optimizer.steps, any_process(accelerator, bool(stop))
            if last or asked or step % config.checkpointing_steps == 0:
                if accelerator.is_main_process:
                    checkpoints.save(step, {"network": network.state_dict(), "optimizer": optimizer.state_dict()})
                accelerator.wait_for_everyone()
            if asked and not last:
                accelerator.print(f"\nstopped after step {step}; the same command continues from here")
                sys.exit(stop.exit_code or 143)
    return network


def _steps(run: Run, model: nn.Module, spec: InputSpec, optimizer: Any, start: int) -> Iterator[int]:
    config, accelerator = run.config, run.accelerator
    bar = tqdm(total=config.optimizer.steps, initial=start, desc=f"detector seed {run.seed}", unit="step")
    for step, batch in enumerate(_loader(run, start), start):
        torch.manual_seed(step_seed(run.seed, step + 1, accelerator.process_index))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.optimizer, step)
        with accelerator.autocast():
            terms = losses(model, batch, spec, accelerator.device)
        accelerator.backward(terms["actions"] + config.box_weight * terms["boxes"])
        optimizer.step()
        optimizer.zero_grad()
        _report(run, step, terms, bar)
        yield step + 1
    bar.close()


def losses(model: nn.Module, batch: dict[str, Any], spec: InputSpec, device: torch.device) -> dict[str, Tensor]:
    """The two terms of the loss of one batch; the clips are fed as the network is to see them."""
    given, boxes, labels = ([part.to(device) for part in batch[name]] for name in ("proposals", "boxes", "labels"))
    output = model(spec.prepare(batch["clip"].to(device)), given)
    return detection_loss(output, given, boxes, labels)._asdict()


def _loader(run: Run, start: int) -> DataLoader[Any]:
    config, accelerator = run.config, run.accelerator
    dataset = Windows(run.train, config, train=True, seed=run.seed)
    sampler = StepSampler(
        len(dataset),
        batch_size=config.optimizer.batch_size,
        steps=config.optimizer.steps,
        seed=run.seed,
        start=start,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=config.num_workers,
        collate_fn=clips.collate,
        worker_init_fn=ignore_signals,
        pin_memory=accelerator.device.type == "cuda",
        persistent_workers=config.num_workers > 0,
    )


def _report(run: Run, step: int, terms: dict[str, Tensor], bar: Any) -> None:
    values = {name: value.item() for name, value in terms.items()}
    if not all(map(math.isfinite, values.values())):
        raise FloatingPointError(f"loss {values} at step {step}; lower --optimizer.lr or check the videos")
    bar.update()
    bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)
    if run.accelerator.is_main_process:
        with run.log.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


def _resume(run: Run, checkpoints: Checkpoints, network: Detector, optimizer: Any) -> int:
    found = checkpoints.load()
    step = found[0] if found else 0
    if found:
        network.load_state_dict(found[1]["network"])
        optimizer.load_state_dict(found[1]["optimizer"])
        run.accelerator.print(f"detector seed {run.seed}: continuing at step {step}")
    if run.accelerator.is_main_process:
        kept = [line for line in run.log.read_text().splitlines() if json.loads(line)["step"] < step] if step else []
        run.log.write_text("".join(line + "\n" for line in kept))
    return step


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one detector per seed and print where it is."""
    config = parse(arguments)
    if config.weights is None:
        raise SystemExit("error: give the network, as in --weights runs/d3d/student.safetensors")
    accelerator = make_accelerator(config)
    for seed in config.seeds:
        accelerator.print(f"detector, seed {seed}: {train(config, config.weights, seed, accelerator)}")
    accelerator.end_training()


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
