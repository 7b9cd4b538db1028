"""Training of a flow decoder, and of the network under it; stopped, it continues at its last checkpoint."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import tqdm
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.paper.tables.flow_reader import FlowReader
from examples.d3d import clips
from examples.d3d.config import Config, Optimizer
from examples.d3d.losses import flow_loss
from examples.d3d.networks import learning_rate, make_optimizer
from examples.d3d.train import any_process
from kdvideo.training import Checkpoints, StepSampler, StopRequest, ignore_signals


@dataclass(frozen=True)
class Training:
    """One training of a reader; its checkpoints lie in ``folder``."""

    reader: FlowReader
    stream: str
    config: Config
    schedule: Optimizer
    seed: int
    accelerator: Accelerator
    folder: Path
    name: str

    def run(self) -> dict[str, Tensor]:
        """The weights of the trained reader.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        optimizer = make_optimizer(_Trainable(self.reader), self.schedule)
        model, groups = self.accelerator.prepare(self.reader.train(), optimizer)
        checkpoints = Checkpoints(self.folder / "checkpoints")
        found = checkpoints.load()
        if found:
            self.reader.load_state_dict(found[1]["reader"])
            groups.load_state_dict(found[1]["optimizer"])
        with StopRequest() as stop:
            for step in self._steps(model, groups, found[0] if found else 0):
                asked, last = any_process(self.accelerator, bool(stop)), step == self.schedule.steps
                due = not last and (asked or step % self.config.checkpointing_steps == 0)
                if due and self.accelerator.is_main_process:
                    checkpoints.save(step, {"reader": self.reader.state_dict(), "optimizer": groups.state_dict()})
                if asked and not last:
                    self.accelerator.print(f"\nstopped after step {step}; the same command continues from here")
                    sys.exit(stop.exit_code or 143)
        return self.reader.state_dict()

    def _steps(self, model: nn.Module, groups: Any, first: int) -> Iterator[int]:
        bar = tqdm(total=self.schedule.steps, initial=first, desc=self.name, unit="step")
        for step, batch in enumerate(self.batches(first), first):
            for group in groups.param_groups:
                group["lr"] = learning_rate(self.schedule, step)
            with self.accelerator.autocast():
                predicted = model(batch[self.stream].to(self.accelerator.device))
            loss = flow_loss(self.config, predicted, batch["flow"].to(self.accelerator.device))
            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"{self.name}: loss {loss.item()} at step {step}")
            # The recipe's accumulation does not hold here, but backward divides by it.
            self.accelerator.backward(loss * self.accelerator.gradient_accumulation_steps)
            groups.step()
            groups.zero_grad()
            bar.update()
            bar.set_postfix({"flow": f"{loss.item():.3f}"}, refresh=False)
            yield step + 1
        bar.close()

    def batches(self, first: int) -> DataLoader[Any]:
        """The batches of this process from a step on; all processes together have the schedule's clips, or more."""
        train, _ = clips.manifests(self.config)
        source = clips.prepare(self.config, train, self.accelerator, what="training clips")
        dataset = clips.views(self.config, train, source, train=True, seed=self.seed)
        world = self.accelerator.num_processes
        sampler = StepSampler(
            len(dataset),
            batch_size=-(-self.schedule.batch_size // world) * world,
            steps=self.schedule.steps,
            seed=self.seed,
            start=first,
            rank=self.accelerator.process_index,
            world_size=world,
        )
        workers = self.config.num_workers
        return DataLoader(dataset, batch_sampler=sampler, num_workers=workers, worker_init_fn=ignore_signals)


class _Trainable(nn.Module):
    """What of a reader learns, for an optimiser that takes a module."""

    def __init__(self, reader: FlowReader) -> None:
        super().__init__()
        learning = [parameter for parameter in reader.parameters() if parameter.requires_grad]
        self.learning = nn.ParameterList(learning)
