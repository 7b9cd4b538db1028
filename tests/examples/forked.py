"""Run scripts in processes that have torch imported already: importing it takes longer than most scripts."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

PRELOADED = ["torch", "torch._dynamo", "kdvideo", "sklearn.datasets", "tests.examples.forked"]


def _script(path: str, arguments: Sequence[str], environment: dict[str, str], outputs: Sequence[str]) -> None:
    import torch

    for number, output in enumerate(outputs, start=1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(environment)
    os.chdir(Path(outputs[0]).parent)
    torch.set_num_threads(1)
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


def run(path: Path, folder: Path, arguments: Sequence[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Return exit status, output and errors of a script that runs in a folder."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    outputs = [folder / f"{path.stem}.{name}" for name in ("stdout", "stderr")]
    process = context.Process(target=_script, args=(str(path), arguments, environment, [str(one) for one in outputs]))
    process.start()
    process.join(280)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{path.name} runs for more than 280 s")
    out, err = (output.read_text() for output in outputs)
    return process.exitcode, out, err
