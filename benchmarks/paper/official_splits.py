"""The official splits of UCF-101 and HMDB-51 as clips of the recipe."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Callable
from pathlib import Path

from datasets import Dataset

from examples.d3d.config import Config
from kdvideo import data
from kdvideo.files import write_atomic

READERS: dict[str, Callable[..., Dataset]] = {"UCF-101": data.from_ucf101_folder, "HMDB-51": data.from_hmdb51_folder}
MISSING = 0.01
"""The largest part of the clips that may be missing (ours)."""


def official(config: Config, name: str, root: Path, *, split: int = 1) -> Config:
    """Return the settings with training and test clips of one split of "UCF-101" or "HMDB-51".

    Raises:
        ManifestError: files, class folders or more than one in a hundred clips are not there.
    """
    parts = {part: READERS[name](root, split=split, subset=part, allow_missing=MISSING) for part in ("train", "test")}
    folder = config.work_dir / "lists" / name
    files = {part: folder / f"split{split}_{part}.csv" for part in parts}
    for part, manifest in parts.items():
        write_list(manifest, files[part])
    return dataclasses.replace(config, train=files["train"], test=files["test"], root=root)


def write_list(manifest: Dataset, file: Path) -> None:
    """Write a csv of path,label, with absolute paths."""
    label = manifest.features["label"].int2str
    text = io.StringIO(newline="")
    csv.writer(text).writerows(
        [("path", "label"), *((os.path.abspath(row["path"]), label(row["label"])) for row in manifest)]
    )
    write_atomic(file, text.getvalue().encode())  # several processes may write the same list
