"""The manifest of a folder per class, and folds of whole groups."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdvideo._hints import kind
from kdvideo.data.manifests.manifest import ListedClip, ManifestBuilder
from kdvideo.data.manifests.scanning import VIDEO_EXTENSIONS, describe_skipped, find_videos

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = {"train", "val", "validation", "test"}


def from_folder(root: str | os.PathLike[str]) -> Dataset:
    """Read the manifest of a folder that holds one folder of clips per class.

    Classes are numbered in the order of their names. Clips may lie deeper within their class folder; a folder of
    numbered jpg or png pictures is a clip, too. Files without one of the `VIDEO_EXTENSIONS` are skipped, with a warning
    that counts them, and so are hidden ones.

    Args:
        root: the folder of the class folders.

    Returns:
        The manifest, a `datasets.Dataset` with the columns `path`, `label`, `clip`, `start`, `end` and `bytes`.

    Raises:
        ManifestError: no class folder in `root`, a class folder without a clip, or a folder per split.
        ValueError: `root` is not a path.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for clip in ("run/1.mp4", "sit/2.mp4"):
        ...         Path(root, clip).parent.mkdir()
        ...         Path(root, clip).touch()
        ...     manifest = from_folder(root)
        >>> manifest["clip"][:], manifest["label"][:], manifest.features["label"].names
        (['run/1.mp4', 'sit/2.mp4'], [0, 1], ['run', 'sit'])
    """
    if not isinstance(root, (str, os.PathLike)):
        raise ValueError(f"root must be a folder, got {kind(root)}")
    top = Path(root)
    builder = ManifestBuilder(os.fspath(root), os.fspath(root))
    folders = sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith(".")) if top.is_dir() else []
    if not folders:
        builder.report(0, _why_none(top))
    elif SPLITS.issuperset(folder.name.lower() for folder in folders):
        names = [folder.name for folder in folders]
        one = next((name for name in names if name.lower() == "train"), names[0])
        builder.fail(f"root must hold one folder per class, got the splits {names}: from_folder(root / {one!r})")
    rows = []
    skipped: Counter[str] = Counter()
    for folder in folders:
        files = find_videos(folder, skipped=skipped)
        found = [ListedClip(0, os.fspath(p.relative_to(top)), folder.name) for p in files]
        if not found:
            builder.report(0, f"class folder {folder.name!r} holds no clip")
        rows += found
    if skipped:
        warnings.warn(f"{os.fspath(root)}: {describe_skipped(skipped)}", stacklevel=2)
    return builder.build(rows, None)


def _why_none(top: Path) -> str:
    if top.is_file():
        return "a file, not a folder: from_csv reads lists"
    if not top.is_dir():
        return "no such folder"
    loose = next((path.name for path in top.iterdir() if path.suffix.lower() in VIDEO_EXTENSIONS), None)
    if loose is None:
        return "no folder of clips in it"
    return f"no folder of clips in it, but {loose!r} itself: put clips as class/{loose}, or list them for from_csv"


def split_by_group(
    manifest: Dataset, group: Callable[[Mapping[str, Any]], Any], *, folds: int, fold: int
) -> tuple[Dataset, Dataset]:
    """Split a manifest into a training and a held-out part, such that no group of clips is in both.

    Group number n in sorted order belongs to fold n modulo `folds`; `fold` is the one held out.

    Args:
        manifest: the clips.
        group: the group of a row, for instance the scene or the person filmed.
        folds: number of folds.
        fold: the one held out, from 0.

    Returns:
        The manifests of the training and of the held-out part.

    Raises:
        ValueError: `fold` is out of range, or there are fewer groups than folds.

    Examples:
        >>> from datasets import Dataset
        >>> clips = Dataset.from_dict({"clip": ["anna/1.mp4", "anna/2.mp4", "ben/1.mp4"]})
        >>> train, held = split_by_group(clips, lambda row: row["clip"].split("/")[0], folds=2, fold=1)
        >>> train["clip"][:], held["clip"][:]
        (['anna/1.mp4', 'anna/2.mp4'], ['ben/1.mp4'])
    """
    if not 0 <= fold < folds:
        raise ValueError(f"fold must be in 0..{folds - 1}, got {fold}")
    groups = [group(row) for row in manifest]
    held = set(sorted(set(groups))[fold::folds])
    if not held or len(held) == len(set(groups)):
        raise ValueError(f"folds must be 2 or more, each with a group, got {folds} folds of {len(set(groups))} groups")
    train = manifest.select([i for i, g in enumerate(groups) if g not in held])
    return train, manifest.select([i for i, g in enumerate(groups) if g in held])
