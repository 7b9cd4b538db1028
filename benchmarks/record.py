"""The record of a benchmark: ``results/<name>.json``, and the Markdown rendered from it for the docs."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

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
    "av",
    "kdvideo",
)
Render = Callable[[dict[str, Any]], str]


def write(name: str, result: dict[str, Any], render: Render) -> None:
    """Write the record and its table."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    table = render(result)
    (FOLDER / f"{name}.md").write_text(table)
    print(table)


def update(name: str, part: str, result: dict[str, Any], render: Render) -> None:
    """Write one part of a record whose parts are measured apart; the others stay."""
    path = FOLDER / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    write(name, known | {part: result}, render)


def environment(command: str, threads: int) -> dict[str, Any]:
    """What a reader needs to judge the numbers; nothing that names the machine."""
    git = lambda *args: subprocess.run(["git", *args], capture_output=True, text=True).stdout.strip()  # noqa: E731
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU used"
    return {
        "command": command,
        "threads": threads,
        "hardware": f"{_processor()}, {os.cpu_count()} cores, {device}",
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {"python": platform.python_version()} | {name: v for name in PACKAGES if (v := _version(name))},
        "commit": os.environ.get("COMMIT") or git("rev-parse", "HEAD"),  # a copy elsewhere may have no history
        "uncommitted_changes": bool(
            git("status", "--porcelain", "--", "kdvideo", "examples", "benchmarks", ":!benchmarks/results")
        ),
        "date": datetime.date.today().isoformat(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
