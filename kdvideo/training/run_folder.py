"""The folder of one training: whose it is, and the losses of every step in it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from kdvideo.files import write_atomic

SETTINGS = "settings.json"


def claim_folder(folder: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Claim a folder for a training with some settings, so that two trainings never mix in it.

    Args:
        folder: made if need be; gets `settings.json`.
        settings: everything that decides the outcome; what JSON cannot hold counts by its text.

    Raises:
        ValueError: the folder holds a training with other settings, or they are damaged; the message names each.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> claim_folder(folder, {"seed": 0, "lr": 0.1})
        >>> claim_folder(folder, {"seed": 0, "lr": 0.1})
        >>> claim_folder(folder, {"seed": 0, "lr": 0.2})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: ... must be empty or hold a training with these settings, got lr 0.1, not 0.2: ...
    """
    path, wanted = Path(folder) / SETTINGS, json.loads(json.dumps(settings, default=str))
    if not path.exists():
        write_atomic(path, json.dumps(wanted, indent=2).encode())
        return
    try:
        known = dict(json.loads(path.read_bytes()))
    except (TypeError, ValueError, RecursionError) as error:
        advice = "remove it if you know the settings"
        raise ValueError(f"{path} must hold the settings of a training, got {error}: {advice}") from None
    differ = "; ".join(_differences(known, wanted))
    if differ:
        advice = "choose another folder, or remove this one"
        raise ValueError(
            f"{os.fspath(folder)} must be empty or hold a training with these settings, got {differ}: {advice}"
        )


def _differences(known: Mapping[str, Any], wanted: Mapping[str, Any], inside: str = "") -> list[str]:
    found = []
    for name in {**known, **wanted}:
        old, new = known.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{inside}{name}.")
        elif old != new:
            found.append(f"{inside}{name} {old}, not {new}")
    return found


class StepLog:
    """The losses of every step, as lines of JSON; a resumed training drops the lines of the steps that it repeats.

    Args:
        path: the file, such as `folder / "log.jsonl"`; None where the losses are checked and not written, as in all
            processes but the main one.
        start: the first step of this process; lines of it and of later ones are removed.

    Examples:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "log.jsonl"
        >>> log = StepLog(path)
        >>> for step in range(3):
        ...     log(step, {"action": 1.0 / (step + 1)})
        >>> StepLog(path, start=2)(2, {"action": 0.3})
        >>> [row["action"] for row in StepLog.read(path)]
        [1.0, 0.5, 0.3]
    """

    def __init__(self, path: str | os.PathLike[str] | None, start: int = 0) -> None:
        self.path = Path(path) if path else None
        if self.path:
            kept = [row for row in self.read(self.path) if row["step"] < start] if start and self.path.exists() else []
            write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def __call__(self, step: int, losses: Mapping[str, Any]) -> None:
        """Append one line, or only check the losses; tensors of one element count as their number.

        Args:
            step: of the training.
            losses: name -> value.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        numbers = {name: one.item() if isinstance(one, Tensor) else one for name, one in losses.items()}
        if not all(map(math.isfinite, numbers.values())):
            advice = "lower the learning rate or check the data"
            raise FloatingPointError(f"losses must be finite, got {numbers} at step {step}: {advice}")
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step, **numbers}) + "\n")

    @staticmethod
    def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """Read the lines of a log.

        A line that is not whole is left out: a process was ended, or a disk was full, while it was written.

        Args:
            path: the file.

        Returns:
            For each line a dict of `step`, and the losses by name.
        """
        rows = []
        for line in Path(path).read_text(errors="replace").split("\n"):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
        return rows
