"""Measure memory and speed of `soft_target_chunked` beside `soft_target`, value and gradient, on logits of bfloat16.

Memory is what a new process holds at most beyond what it held before the call, forward and backward pass, with blocks
from 64 KiB given back to the system when they are freed (glibc's default keeps some at random). Times are formed within
a round that runs every arm once, in random order; the plain loss runs twice (A/A). Seconds are CPU seconds of one
thread.

    python -m benchmarks.speed.chunked_kl
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=[2, 512, 50257], help="batch, positions, vocabulary")
    parser.add_argument("--rounds", type=int, default=7, help="that alternate between what is compared")
    options = parser.parse_args()

import multiprocessing
import os
import resource
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import record
from benchmarks.speed.core import ratios
from kdvideo.functional import soft_target, soft_target_chunked
from kdvideo.training import Timings

LIMIT = 1.1
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536"}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "chunked": soft_target_chunked,
    "plain": partial(soft_target, dim=-1),
}


def logits(shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Draw student and teacher, without a float32 copy."""
    student, teacher = (torch.empty(*shape, dtype=torch.bfloat16).normal_() for _ in range(2))
    return student.requires_grad_(), teacher


def step(name: str, student: Tensor, teacher: Tensor) -> Tensor:
    """Compute value and gradient."""
    student.grad = None
    value = LOSSES[name](student, teacher)
    value.backward()
    return value.detach()


def peak(name: str, shape: Sequence[int]) -> int:
    """Return the most bytes beyond those held before that one step takes; to be called in a process of its own."""
    torch.set_num_threads(1)
    step(name, *logits((2, 4, 100)))
    student, teacher = logits(shape)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    step(name, student, teacher)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def peaks(shape: Sequence[int]) -> dict[str, float]:
    """Measure the peak of every loss, in multiples of the bytes of one network's logits."""
    size = 2 * torch.Size(shape).numel()
    os.environ.update(MALLOC)  # read by the C library of the new processes
    context = multiprocessing.get_context("spawn")
    found = {}
    for name in LOSSES:
        with ProcessPoolExecutor(1, mp_context=context) as process:
            found[name] = round(process.submit(peak, name, shape).result() / size, 3)
    return found


def times(shape: Sequence[int], rounds: int) -> dict[str, list[float]]:
    """Measure the CPU seconds of every arm in every round, and check that all values are the same."""
    student, teacher = logits(shape)
    arms = {"chunked": "chunked", "plain": "plain", "plain again": "plain"}
    found = Timings(
        {arm: partial(step, name, student, teacher) for arm, name in arms.items()}, rounds, quiet=True, shuffle=True
    )
    values = [value for value in found.last.values() if isinstance(value, Tensor)]
    torch.testing.assert_close(values[0], values[1])
    return found.cpu


def report(memory: dict[str, float], spent: dict[str, list[float]], options: argparse.Namespace) -> dict[str, Any]:
    """Return what is recorded."""
    return {
        "benchmark": "speed_chunked_kl",
        "peak_over_logits": memory,
        "limit": LIMIT,
        "malloc": MALLOC,
        "chunked_over_plain": ratios(spent["chunked"], spent["plain"]),
        "plain_over_plain": ratios(spent["plain again"], spent["plain"]),
        "seconds_per_step": {name: round(statistics.median(v), 4) for name, v in spent.items()},
        "shape": list(options.shape),
        "rounds": options.rounds,
        **record.environment("python -m benchmarks.speed.chunked_kl", torch.get_num_threads()),
    }


def markdown(result: dict[str, Any]) -> str:
    """Render the record as a sentence."""
    memory, ours, control = result["peak_over_logits"], result["chunked_over_plain"], result["plain_over_plain"]
    return (
        f"Logits {'×'.join(map(str, result['shape']))} in bfloat16, value and gradient: beyond the logits of both "
        f"networks `soft_target_chunked` takes {memory['chunked']:.2f}× the bytes of the student's at its peak, of "
        f"which 1 is the gradient itself, and `soft_target` {memory['plain']:.1f}× (resident memory; freed blocks from "
        f"64 KiB go back to the system). Time of the chunked over the plain "
        f"loss, {result['rounds']} rounds interleaved: {ours['median']:.3f}× (quartiles {ours['quartile_low']:.3f}–"
        f"{ours['quartile_high']:.3f}); plain against itself {control['median']:.3f}× "
        f"({control['quartile_low']:.3f}–{control['quartile_high']:.3f}).\n"
    )


def main(options: argparse.Namespace) -> None:
    """Measure, print and record."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = report(peaks(options.shape), times(options.shape, options.rounds), options)
    record.write("speed_chunked_kl", found, markdown)


if __name__ == "__main__":
    main(options)
