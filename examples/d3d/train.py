"""The training loop: plain PyTorch under HF Accelerate, with or without a teacher."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, tqdm
from torch import Tensor, nn
from torch.utils.data import DataLoader

import kdvideo as kd
from examples.d3d import clips, teaching
from examples.d3d.config import Config
from examples.d3d.losses import losses, make_student
from examples.d3d.networks import learning_rate, make_optimizer, start
from examples.d3d.runs import Run
from examples.d3d.teaching import Target
from kdvideo import models
from kdvideo.training import Checkpoints, StepSampler, StopRequest, ignore_signals, step_seed

LONGEST_WAIT = timedelta(hours=6)  # of one process for the others' shares of the flow


def make_accelerator(config: Config) -> Accelerator:
    """One Accelerator for all trainings of a process."""
    return Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        log_with="tensorboard" if config.with_tracking else None,
        project_dir=str(config.work_dir),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )


def _loader(run: Run, dataset: kd.data.PairedClips, start: int) -> DataLoader[Any]:
    config, accelerator = run.config, run.accelerator
    parts = config.gradient_accumulation_steps
    sampler = StepSampler(
        len(dataset),
        batch_size=config.optimizer.batch_size // parts,
        steps=config.optimizer.steps * parts,
        seed=run.seed,
        start=start * parts,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=config.num_workers,
        worker_init_fn=ignore_signals,
        pin_memory=accelerator.device.type == "cuda",
        persistent_workers=config.num_workers > 0,
    )


def fit(run: Run) -> Path:
    """Train unless it is done already; resume from the newest checkpoint; return the weights' path.

    A Ctrl-C or SIGTERM ends the process after the current step, with a checkpoint from which the same command
    continues.
    """
    if run.weights.exists():
        return run.weights
    config, accelerator = run.config, run.accelerator
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "settings.json").write_text(json.dumps(run.settings, indent=2))
    if config.with_tracking:
        accelerator.init_trackers(f"tensorboard/{run.key}")
    dataset = teaching.training_views(run)
    classes = run.train.features["label"].names
    network = _train(run, dataset, len(classes))
    if accelerator.is_main_process:
        models.checkpoints.save(network, run.weights, classes=classes, input_spec=clips.input_spec(config, run.stream))
    accelerator.wait_for_everyone()
    return run.weights


def _train(run: Run, dataset: kd.data.PairedClips, num_classes: int) -> nn.Module:
    config, accelerator = run.config, run.accelerator
    accelerator.gradient_accumulation_steps = config.gradient_accumulation_steps  # one Accelerator serves all
    target = teaching.target(run, dataset)
    student = make_student(run, start(run, num_classes))
    student, optimizer = accelerator.prepare(student, make_optimizer(student, config.optimizer))
    checkpoints = Checkpoints(run.folder / "checkpoints")
    first = _resume(checkpoints, run, student, optimizer)
    with StopRequest() as stop:
        for step in _steps(run, student.train(), optimizer, target, dataset, first):
            last = step == config.optimizer.steps
            asked = any_process(accelerator, bool(stop))
            if last or asked or step % config.checkpointing_steps == 0:
                _save(checkpoints, run, student, optimizer, step)
            if asked and not last:
                accelerator.print(f"\nstopped after step {step}; the same command continues from here")
                sys.exit(stop.exit_code or 143)
    bare: nn.Module = accelerator.unwrap_model(student).remove()
    return bare


def _steps(
    run: Run, student: nn.Module, optimizer: Any, target: Target | None, dataset: Any, first: int
) -> Iterator[int]:
    config, accelerator = run.config, run.accelerator
    parts = config.gradient_accumulation_steps
    bar = tqdm(total=config.optimizer.steps, initial=first, desc=run.name, unit="step")
    add_flow = teaching.add_flow(config, online=run.flow_from == "online")
    batches = kd.flow.prefetch_to_device(_loader(run, dataset, first), add_flow, device=accelerator.device)
    for part, batch in enumerate(batches, first * parts):
        step = part // parts
        torch.manual_seed(step_seed(run.seed, part + 1, accelerator.process_index))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.optimizer, step)
        with accelerator.accumulate(student):
            with accelerator.autocast():
                terms = losses(run, student, target, batch)
            accelerator.backward(sum(terms.values()))
            optimizer.step()
            optimizer.zero_grad()
        if (part + 1) % parts == 0:
            _report(run, step, terms, bar)
            yield step + 1
    bar.close()


def _report(run: Run, step: int, terms: dict[str, Tensor], bar: Any) -> None:
    values = {name: value.item() for name, value in terms.items()}
    if not all(map(math.isfinite, values.values())):
        raise FloatingPointError(f"{run.name}: loss {values} at step {step}; lower --optimizer.lr or check the clips")
    bar.update()
    bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()}, refresh=False)
    if run.accelerator.is_main_process:
        with run.log.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
    if run.config.with_tracking:
        run.accelerator.log(values, step=step)


def any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum") > 0)


def _save(checkpoints: Checkpoints, run: Run, student: nn.Module, optimizer: Any, step: int) -> None:
    if run.accelerator.is_main_process:
        bare = run.accelerator.unwrap_model(student)
        states = {"network": bare.model.state_dict(), "optimizer": optimizer.state_dict()}
        checkpoints.save(step, states | {"projectors": bare.projectors.state_dict()})
    run.accelerator.wait_for_everyone()


def _resume(checkpoints: Checkpoints, run: Run, student: nn.Module, optimizer: Any) -> int:
    found = checkpoints.load()
    step = found[0] if found else 0
    if found:
        bare = run.accelerator.unwrap_model(student)
        bare.model.load_state_dict(found[1]["network"])
        bare.projectors.load_state_dict(found[1].get("projectors", {}))
        optimizer.load_state_dict(found[1]["optimizer"])
        run.accelerator.print(f"{run.name}: continuing at step {step}")
    if run.accelerator.is_main_process:
        kept = [line for line in run.log.read_text().splitlines() if json.loads(line)["step"] < step] if step else []
        run.log.write_text("".join(line + "\n" for line in kept))
    return step
