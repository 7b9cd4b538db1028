"""Write the record of a benchmark, `results/<name>.json`, and the Markdown rendered from it for the docs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdvideo.files import write_atomic

FOLDER = Path(__file__).parent / "results"
PACKAGES = (
    "torch",
    "torchvision",
    "triton",
    "numpy",
    "timm",
    "pytorchvideo",
    "pyarrow",
    "opencv-contrib-python-headless",
    "scikit-image",
    "scikit-learn",
    "av",
    "torchdistill",
    "nvidia-modelopt",
    "trl",
    "kdvideo",
)
Render = Callable[[dict[str, Any]], str]


def write(name: str, result: dict[str, Any], render: Render) -> None:
    """Write a record and its Markdown; print the Markdown."""
    write_atomic(FOLDER / f"{name}.json", (json.dumps(result, indent=1) + "\n").encode())
    text = render(result)
    write_atomic(FOLDER / f"{name}.md", text.encode())
    print(text)


def update(name: str, part: str, result: dict[str, Any], render: Render) -> None:
    """Write one part of a record whose parts are measured apart; keep the others."""
    path = FOLDER / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    write(name, known | {part: result}, render)


def write_run(module: str, result: dict[str, Any], render: Render) -> None:
    """Write the record of a script that measures all at once on one thread, with its flags and this machine."""
    name = module.removeprefix("benchmarks.").replace(".", "_")
    command = shlex.join(["python", "-m", module, *sys.argv[1:]])
    write(name, {"benchmark": name, **result, **environment(command, 1)}, render)


def environment(command: str, threads: int) -> dict[str, Any]:
    """Describe this process, with the versions of everything that a benchmark may measure."""
    from kdvideo import training  # not at the head: tables are rendered, and flags read, without torch

    return training.environment(command, threads=threads, packages=PACKAGES)
