"""The training loop: plain PyTorch under HF Accelerate, which a stop at any instant does not hurt."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from examples.d3d import progress
from examples.d3d.batches import Batch, Training, batches_of
from examples.d3d.config import Config
from examples.d3d.finite import FiniteSteps, global_means
from examples.d3d.networks import learning_rate, make_optimizer
from kdvideo import data
from kdvideo.files import write_atomic
from kdvideo.training import (
    Checkpoints,
    StepLog,
    StopRequest,
    Watchdog,
    step_seed,
)

LONGEST_WAIT = timedelta(hours=6)  # for the others' shares of the flow; in training the watchdog ends a wait in minutes


def make_accelerator(config: Config) -> Accelerator:
    """Make one Accelerator for all trainings of a process."""
    return Accelerator(
        mixed_precision=config.mixed_precision,
        log_with="tensorboard" if config.with_tracking else None,
        project_dir=str(config.output_dir),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )


def fit(training: Training, accelerator: Accelerator) -> Any:
    """Train from the newest checkpoint, or from the start; return the bare model, or its average over the steps.

    Ctrl-C or SIGTERM ends the process after the current step, with a checkpoint from which the same command continues.

    Raises:
        FloatingPointError: a term of the loss is not finite.
    """
    # One Accelerator serves all trainings; the parts of a batch are counted anew.
    accelerator.gradient_accumulation_steps, accelerator.step = training.accumulate, 0
    bare = _as_asked(training)
    model, optimizer = accelerator.prepare(bare, make_optimizer(bare, training.optimizer))
    average = _average(bare, training.optimizer.average)
    learned = {"model": bare, "optimizer": optimizer} | ({"average": average} if average else {})
    checkpoints = Checkpoints(training.folder / "checkpoints")
    first, state = checkpoints.load() or (0, {})
    if state:
        for name, one in learned.items():
            one.load_state_dict(state[name])
        accelerator.print(f"{training.name}: continuing at step {first}")
    steps, file = training.optimizer.steps, training.folder / "log.jsonl"
    log = StepLog(file if accelerator.is_main_process else None, first)
    if accelerator.log_with:
        accelerator.init_trackers(f"tensorboard/{training.name.replace(' ', '-')}")
    bar = progress.bar(total=steps, initial=first, desc=training.name, unit="step")
    finite, began = FiniteSteps(bare, skip=training.skip), time.monotonic()

    def save(done: int) -> None:
        if accelerator.is_main_process:
            checkpoints.save(done, {name: one.state_dict() for name, one in learned.items()})

    with StopRequest() as stop, bar, Watchdog(training.step_deadline, sys.__stderr__) as dog:
        for step, values, taken in _steps(training, model, optimizer, accelerator, first, finite, save):
            dog.feed()
            if average and taken:
                average.update_parameters(bare)
            measured = _measured(training, average.module if average else bare, step + 1)
            log(step, (values if taken else {"skipped": finite.skipped}) | measured)
            bar.update()
            said = {name: f"{value:.3f}" for name, value in values.items()}
            if training.later:
                said = {"in all": progress.left(began, step + 1 - first, steps - step - 1 + training.later)} | said
            bar.set_postfix(said, refresh=False)
            if accelerator.log_with:
                accelerator.log(values, step=step)
            done, asked = step + 1, any_process(accelerator, bool(stop))
            if done == steps or asked or done % training.checkpointing_steps == 0:
                save(done)
                _share_unreadable(training, accelerator)
                accelerator.wait_for_everyone()
                dog.feed()
            if asked and done < steps:
                accelerator.print(f"\nstopped after step {done}; the same command continues from here")
                sys.exit(stop.exit_code or 143)
    trained = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    if average:
        trained.load_state_dict(average.module.state_dict())
    return trained


def _as_asked(training: Training) -> nn.Module:
    """Return the model in the memory format of the settings, and compiled where they say so."""
    for module in training.model.modules() if training.channels_last else ():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
    if training.compile:
        training.model.compile()  # in place: the names of its weights stay, and so do checkpoints
    return training.model


def _measured(training: Training, network: nn.Module, done: int) -> dict[str, float]:
    """Measure the network on test clips where it is time to; the mode of each of its layers stays."""
    if not (training.measure and training.measure_every):
        return {}
    if done % training.measure_every and done != training.optimizer.steps:
        return {}
    modes = {module: module.training for module in network.modules()}
    found = training.measure(network)
    for module, mode in modes.items():
        module.training = mode
    return {"top1": found}


def _share_unreadable(training: Training, accelerator: Accelerator) -> None:
    """Count the clips that any process could not read, and write their names to `unreadable.txt`."""
    clips = training.dataset
    if isinstance(clips, data.ReadableClips):
        clips.mark(accelerator.reduce(clips.unreadable.float().to(accelerator.device), "sum").cpu() > 0)
        if accelerator.is_main_process and clips.unreadable.any():
            write_atomic(training.folder / "unreadable.txt", "".join(f"{one}\n" for one in clips.names()).encode())


def _average(model: nn.Module, decay: float) -> AveragedModel | None:
    """Return a moving average of a model's weights and buffers, which starts as a plain mean over the first steps."""
    if not decay:
        return None

    def moved(means: Any, values: Any, count: Tensor | int) -> None:
        # A decay of 0.99 from the start would remember the first weights for hundreds of steps.
        keep = min(decay, (int(count) + 1) / (int(count) + 10))
        if means[0].is_floating_point():
            torch._foreach_lerp_(means, values, 1 - keep)
        else:
            torch._foreach_copy_(means, values)  # BatchNorm's count of batches

    return AveragedModel(model, multi_avg_fn=moved, use_buffers=True)


def _steps(
    training: Training,
    model: nn.Module,
    optimizer: Any,
    accelerator: Accelerator,
    first: int,
    finite: FiniteSteps,
    save: Callable[[int], None],
) -> Iterator[tuple[int, dict[str, float], bool]]:
    """Train, and yield after every step its number, its losses over all processes, and whether it was taken."""
    parts, rate = training.accumulate, learning_rate(training.optimizer)
    share, batches = batches_of(training, accelerator, first, save)
    clips: list[Any] = []
    summed: dict[str, Tensor] = {}
    for part, batch in enumerate(batches, first * parts):
        step, last = part // parts, (part + 1) % parts == 0
        if part % parts == 0:
            finite.begin()
            clips, summed = [], {}
        # A function of (seed, step): a resumed training draws what one that was never stopped draws.
        seed = step_seed(training.seed, part + 1, accelerator.process_index)
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        clips += batch.get("clip", [])
        with accelerator.accumulate(model):
            with _memory(batch, parts), accelerator.autocast():
                terms = training.losses(model, batch)
            with _memory(batch, parts):
                accelerator.backward(share.weight * sum(terms.values()))
            for name, value in terms.items():
                summed[name] = summed.get(name, 0) + share.weight * value.detach() / parts
            if last:
                values = global_means(summed, accelerator)
                taken = finite.judge(step, values, clips)
                if taken and training.optimizer.clip_norm:
                    accelerator.clip_grad_norm_(model.parameters(), training.optimizer.clip_norm)
            if not last or taken:
                optimizer.step()
            optimizer.zero_grad()
        if last:
            yield step, values, taken


@contextmanager
def _memory(batch: Batch, parts: int) -> Iterator[None]:
    """Say, where memory does not suffice, for what, and what to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        shapes = ", ".join(f"{name} {tuple(one.shape)}" for name, one in batch.items() if isinstance(one, Tensor))
        error.add_note(
            f"one part of a batch was {shapes}: try --gradient-accumulation-steps {2 * parts} (losses stay those of "
            "the whole batch, but for BatchNorm), --mixed-precision bf16, or more processes"
        )
        raise


def any_process(accelerator: Accelerator, flag: bool) -> bool:
    """Return whether the flag is set in any process."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum") > 0)
