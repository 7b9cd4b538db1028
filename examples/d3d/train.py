"""The training loop: plain PyTorch under HF Accelerate, with or without a teacher."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import tqdm
from torch import Tensor, nn
from torch.utils.data import DataLoader

import kdvideo as kd
from examples.d3d import clips
from examples.d3d.config import Config, Optimizer
from examples.d3d.runs import Run
from kdvideo import models
from kdvideo.training import Checkpoints, StepSampler, StopRequest, ignore_signals, step_seed

CHANNELS = {"rgb": 3, "flow": 2}


def make_accelerator(config: Config) -> Accelerator:
    """One Accelerator for all trainings of a process."""
    return Accelerator(
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        log_with="tensorboard" if config.with_tracking else None,
        project_dir=str(config.work_dir),
    )


def learning_rate(optimizer: Optimizer, step: int) -> float:
    """The rate of one step: linear in the batch, a linear rise, then a tenfold fall at each of ``decay_at``."""
    done = step / optimizer.steps
    rate = optimizer.lr * optimizer.batch_size / optimizer.reference_batch
    rise = min(1.0, (step + 1) / (optimizer.warmup * optimizer.steps)) if optimizer.warmup else 1.0
    return rate * rise * 0.1 ** sum(done >= at for at in optimizer.decay_at)


def build(config: Config, stream: str, num_classes: int, seed: int) -> nn.Module:
    """A fresh S3D-G for RGB or flow."""
    torch.manual_seed(step_seed(seed, 0))
    network = models.s3dg(
        num_classes,
        in_channels=CHANNELS[stream],
        depth_multiplier=config.network.depth_multiplier,
        dropout=config.network.dropout,
    )
    if config.network.fast_start:
        _start_fast(network)
    return network


def _start_fast(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.1
        elif isinstance(module, nn.Conv3d) and (module.bias is None or module.kernel_size[0] > 1):
            # Temporal convolutions too: started as the identity they are blind to motion for hundreds of steps.
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def _optimizer(network: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    kernels = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": kernels, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)


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


def _losses(
    config: Config, network: nn.Module, teacher: kd.Teacher | None, batch: dict[str, Tensor], stream: str
) -> dict[str, Tensor]:
    logits = network(batch[stream])
    terms = {"action": F.cross_entropy(logits.float(), batch["label"])}
    if teacher is not None:
        target = teacher(batch["flow"]).logits
        terms["distill"] = config.distill_weight * kd.functional.logit_mse(
            logits, target, reduction=config.class_reduction
        )
    return terms


def fit(run: Run, store: Any) -> Path:
    """Train unless it is done already; resume from the newest checkpoint; return the weights' path.

    A Ctrl-C or SIGTERM ends the process after the current step, with a checkpoint from which the same command
    continues.
    """
    if run.weights.exists():
        return run.weights
    config, accelerator = run.config, run.accelerator
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "settings.json").write_text(json.dumps(run.settings, indent=2))
    classes = run.train.features["label"].names
    network, optimizer = _prepare(run, len(classes))
    teacher = _teacher(run, accelerator.device)
    checkpoints = Checkpoints(run.folder / "checkpoints")
    start = _resume(checkpoints, run, network, optimizer)
    needs_flow = store if run.stream == "flow" or teacher else None
    dataset = clips.views(config, run.train, needs_flow, train=True, rgb=run.stream == "rgb", seed=run.seed)
    if config.with_tracking:
        accelerator.init_trackers(f"tensorboard/{run.key}")
    with StopRequest() as stop:
        for step in _steps(run, network, optimizer, teacher, dataset, start):
            last = step == config.optimizer.steps
            asked = _any_process(accelerator, bool(stop))
            if last or asked or step % config.checkpointing_steps == 0:
                _save(checkpoints, run, network, optimizer, step)
            if asked and not last:
                accelerator.print(f"\nstopped after step {step}; the same command continues from here")
                sys.exit(stop.exit_code or 143)
    if accelerator.is_main_process:
        bare = accelerator.unwrap_model(network).cpu()
        models.checkpoints.save(bare, run.weights, classes=classes, input=clips.input_spec(config, run.stream))
    accelerator.wait_for_everyone()
    return run.weights


def _prepare(run: Run, num_classes: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    network = build(run.config, run.stream, num_classes, run.seed)
    network, optimizer = run.accelerator.prepare(network, _optimizer(network, run.config.optimizer))
    network.train()
    return network, optimizer


def _teacher(run: Run, device: torch.device) -> kd.Teacher | None:
    if run.teacher is None:
        return None
    network, _ = models.checkpoints.load(run.teacher)
    return kd.Teacher(network).to(device)


def _steps(
    run: Run, network: nn.Module, optimizer: Any, teacher: kd.Teacher | None, dataset: Any, start: int
) -> Iterator[int]:
    config, accelerator = run.config, run.accelerator
    parts = config.gradient_accumulation_steps
    bar = tqdm(total=config.optimizer.steps, initial=start, desc=run.name, unit="step")
    for part, batch in enumerate(_loader(run, dataset, start), start * parts):
        step = part // parts
        torch.manual_seed(step_seed(run.seed, part + 1, accelerator.process_index))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.optimizer, step)
        with accelerator.accumulate(network):
            with accelerator.autocast():
                terms = _losses(config, network, teacher, clips.on_device(batch, accelerator.device), run.stream)
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


def _any_process(accelerator: Accelerator, flag: bool) -> bool:
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum") > 0)


def _save(checkpoints: Checkpoints, run: Run, network: nn.Module, optimizer: Any, step: int) -> None:
    if run.accelerator.is_main_process:
        bare = run.accelerator.unwrap_model(network)
        checkpoints.save(step, {"network": bare.state_dict(), "optimizer": optimizer.state_dict(), "key": run.key})
    run.accelerator.wait_for_everyone()


def _resume(checkpoints: Checkpoints, run: Run, network: nn.Module, optimizer: Any) -> int:
    found = checkpoints.load()
    step = found[0] if found else 0
    if found:
        run.accelerator.unwrap_model(network).load_state_dict(found[1]["network"])
        optimizer.load_state_dict(found[1]["optimizer"])
        run.accelerator.print(f"{run.name}: continuing at step {step}")
    if run.accelerator.is_main_process:
        kept = [line for line in run.log.read_text().splitlines() if json.loads(line)["step"] < step] if step else []
        run.log.write_text("".join(line + "\n" for line in kept))
    return step
