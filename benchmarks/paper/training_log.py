"""What a record keeps of every training behind a value: its first losses, and the time that it took."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from kdvideo.files import write_atomic
from kdvideo.training import StepLog

FIRST = 4  # losses, by which a training that is to be reproduced is recognized before it is done
Trainings = dict[str, dict[str, Any]]


@contextmanager
def timed(weights: Path, accelerator: Accelerator) -> Iterator[None]:
    """Measure what a training costs that ends with a file of weights, in its folder; none where the file is there.

    Counted are seconds of processor time on a CPU, and on GPUs seconds times their number; a training that was
    stopped adds its parts.
    """
    if weights.exists():
        yield
        return
    clock, processes = (time.perf_counter, accelerator.num_processes)
    if accelerator.device.type == "cpu":
        clock = time.process_time
    begin = clock()
    try:
        yield
    finally:
        if accelerator.is_main_process:
            seconds = (_seconds(weights.parent) or 0.0) + processes * (clock() - begin)
            write_atomic(weights.with_name("seconds.json"), json.dumps(seconds).encode())


def about(folder: Path) -> Trainings:
    """Return the name of a training's folder -> the sums of its first four losses, and its seconds where measured.

    The same versions, capability of the processor and number of threads give the same losses to the last bit.
    """
    log = folder / "log.jsonl"
    if not log.exists():
        return {}
    rows = StepLog.read(log)[:FIRST]
    losses = [sum(value for name, value in row.items() if name != "step") for row in rows]
    return {folder.name: {"first_losses": losses, "seconds": _seconds(folder)}}


def _seconds(folder: Path) -> float | None:
    path = folder / "seconds.json"
    return float(json.loads(path.read_text())) if path.exists() else None
