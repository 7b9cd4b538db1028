"""A manifest from a folder per class, and folds of whole groups."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdvideo.data.manifests.manifest import EXTENSIONS, Checked, Row

if TYPE_CHECKING:
    from datasets import Dataset


def from_folder(root: str | os.PathLike[str]) -> Dataset:
    """The manifest of a folder that holds one folder of clips per class.

    Classes are numbered in the order of their names. Clips may lie deeper within their class folder; files that
    are no videos by their extension, and hidden ones, are passed over.

    Raises:
        ManifestError: no class folder in `root`, or a class folder without a clip.
    """
    top = Path(root)
    check = Checked(os.fspath(root), os.fspath(root))
    folders = sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith(".")) if top.is_dir() else []
    if not folders:
        check.problems.append((0, "no folder of clips in it" if top.is_dir() else "no such folder"))
    rows = []
    for folder in folders:
        found = [Row(0, os.fspath(p.relative_to(top)), folder.name) for p in videos(folder)]
        if not found:
            check.problems.append((0, f"class folder {folder.name!r} holds no clip"))
        rows += found
    return check.manifest(rows, None)


def videos(folder: Path) -> Iterator[Path]:
    """All video files below a folder, sorted; hidden ones are passed over."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in EXTENSIONS and not hidden and path.is_file():
            yield path


def split_by_group(
    manifest: Dataset, group: Callable[[Mapping[str, Any]], Any], *, folds: int, fold: int
) -> tuple[Dataset, Dataset]:
    """Training and held-out part of a manifest, such that no group of clips is in both.

    The groups, sorted, are dealt out to the folds in turn; `fold` is the one held out.

    Args:
        manifest: the clips.
        group: the group of a row, for instance the scene or the person filmed.
        folds: number of folds.
        fold: the one held out, from 0.
    """
    if not 0 <= fold < folds:
        raise ValueError(f"fold must be in 0..{folds - 1}, got {fold}")
    groups = [group(row) for row in manifest]
    held = set(sorted(set(groups))[fold::folds])
    if not held or len(held) == len(set(groups)):
        raise ValueError(f"{len(set(groups))} groups cannot be split into {folds} folds")
    train = manifest.select([i for i, g in enumerate(groups) if g not in held])
    return train, manifest.select([i for i, g in enumerate(groups) if g in held])
