"""The record of an environment: hardware, versions, commit, command and date; and a hash that names settings."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "kdvideo", "numpy", "av", "accelerate")


def environment(command: str, *, threads: int | None = None, packages: Iterable[str] = PACKAGES) -> dict[str, Any]:
    """Describe this process for the record of a measurement; nothing in it names the machine or its user.

    Rounding depends on the processor's instructions (`cpu_capability`) and on the number of threads: a value that
    is to be reproduced needs both.

    Args:
        command: what was run.
        threads: of the processor; None: those that torch uses now.
        packages: distributions whose versions are listed, where they are installed.

    Returns:
        `command`, `threads`, `hardware`, `cpu_capability`, `load_average` (of the last minute), `versions`, `commit`
        and `uncommitted_changes` of the folder in which the process runs (empty and False without git), `date`. The
        environment variable `COMMIT` takes the place of a missing history.

    Examples:
        >>> environment("python train.py")["versions"]["torch"] == torch.__version__.split("+")[0]
        True
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU used"
    versions = {"python": platform.python_version()} | {name: v for name in packages if (v := _version(name))}
    return {
        "command": command,
        "threads": torch.get_num_threads() if threads is None else threads,
        "hardware": f"{processor_name()}, {os.cpu_count()} cores, {device}",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": versions,
        "commit": os.environ.get("COMMIT") or _git("rev-parse", "HEAD"),  # a copy elsewhere may have no history
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.cpp")),
        "date": datetime.date.today().isoformat(),
    }


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Compute 16 hexadecimal digits that name some settings; the order of the keys does not matter.

    Args:
        settings: what JSON can hold; paths and other objects count by their text.

    Returns:
        The first 16 digits of the SHA-256 of the settings as JSON with sorted keys.

    Examples:
        >>> settings_hash({"seed": 0, "lr": 0.1}) == settings_hash({"lr": 0.1, "seed": 0})
        True
    """
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def processor_name() -> str:
    """Return the name of the processor, as the system gives it."""
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
