"""What the synthetic data sets share: seeds, looks in exact shares, and a folder that appears when it is complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Generator

RECORD = "synthetic.json"


def check(name: str, value: object, valid: bool, expected: str) -> None:
    """Raise `ValueError` unless a setting is valid."""
    if not valid:
        raise ValueError(f"{name}={value!r}; expected {expected}")


def check_counts(name: str, counts: Mapping[str, int]) -> None:
    """Raise `ValueError` unless every split has a name that a folder can have, and a number above 0."""
    valid = all(isinstance(n, int) and n > 0 and split == Path(split).name for split, n in counts.items())
    check(name, counts, bool(counts) and valid, "{name of a split: whole number above 0}")


def seed_of(*parts: object) -> int:
    """A seed that no other parts have."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


def appearances(
    label: str, count: int, classes: Sequence[str], cue: float | None, *, seed: tuple[int, str]
) -> list[str]:
    """Exact shares in random order: with a cue `label` and the others, without one all alike."""
    generator = Generator().manual_seed(seed_of(*seed, label))
    own = 0 if cue is None else round(cue * count)
    rest = [name for name in classes if cue is None or name != label]
    order = torch.randperm(len(rest), generator=generator).tolist()
    looks = [label] * own + [rest[order[i % len(rest)]] for i in range(count - own)]
    return [looks[i] for i in torch.randperm(count, generator=generator).tolist()]


def complete(root: Path, record: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Make `root` the data set of a record; `fill` writes it into a hidden folder beside it, or continues there.

    Raises:
        ValueError: `root` holds anything else.
    """
    if _holds(root, record):
        return
    partial = root.with_name(f".{root.name}.partial")
    try:
        if partial.exists() and _read(partial) != record:
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        write(partial / RECORD, json.dumps(record, indent=1).encode())
        fill(partial)
        partial.rename(root)
    except OSError:
        if not _holds(root, record):  # else another process has finished the same work first
            raise
        shutil.rmtree(partial, ignore_errors=True)


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; without a flush to the disk, as the folder's record tells what is lost."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _read(folder: Path) -> Any:
    try:
        return json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None


def _holds(root: Path, record: dict[str, Any]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found = _read(root)
    if found == record:
        return True
    if not isinstance(found, dict):
        raise ValueError(f"{root} exists and is no synthetic data set; give a new folder")
    differ = {key: (found.get(key), record[key]) for key in record if key != "clips" and found.get(key) != record[key]}
    raise ValueError(f"{root} holds another data set, (found, wanted): {differ}; give a new folder or remove it")
