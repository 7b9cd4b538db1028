"""Writing a synthetic data set into a folder that appears when it is complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

RECORD = "synthetic.json"


def write_folder(root: Path, record: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Write the data set of a record into the folder `root`, or leave it as it is where it holds that data set.

    Args:
        root: the folder.
        record: the settings, and what is drawn; becomes `synthetic.json`.
        fill: writes the files into a hidden folder beside `root`, or continues there after an interruption.

    Raises:
        ValueError: `root` holds anything else.
    """
    if _is_complete(root, record):
        return
    partial = root.with_name(f".{root.name}.partial")
    try:
        if _read(partial) not in (None, record):  # without a record: another process has only just made it
            shutil.rmtree(partial)
        partial.mkdir(parents=True, exist_ok=True)
        write_file(partial / RECORD, json.dumps(record, indent=1).encode())
        fill(partial)
        partial.rename(root)
    except OSError:
        if not _is_complete(root, record):  # else another process has finished the same work first
            raise
        shutil.rmtree(partial, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Unlike `kdvideo.files.write_atomic` this makes no folder, which is gone where another process has finished the
    data set first, and does not flush to the disk, which would take most of the time.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _read(folder: Path) -> Any:
    try:
        return json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return None


def _is_complete(root: Path, record: dict[str, Any]) -> bool:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    found = _read(root)
    if found == record:
        return True
    if not isinstance(found, dict):
        raise ValueError(f"{root} must be a synthetic data set or not exist: give a new folder")
    differ = {key: (found.get(key), record[key]) for key in record if key != "clips" and found.get(key) != record[key]}
    raise ValueError(f"{root} holds another data set, (found, wanted): {differ}: give a new folder or remove it")
