"""Folders of finished checkpoints: how they appear, which are valid, which are kept."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

from kdvideo.files import check_regular, sync_path
from kdvideo.training import folder_lock

MANIFEST, TEMPORARY, REPLACED = "manifest.json", ".writing_", ".replaced"
_NAME = re.compile(rf"step_(\d{{9,}})({re.escape(REPLACED)})?")
_LARGEST_MANIFEST = 10_000_000


class CheckpointError(RuntimeError):
    """Signal that a checkpoint cannot be written, or none can be read; names the folder and the reason."""


class Found(NamedTuple):
    """A checkpoint in a folder; later ones have a larger `number`, whatever their steps."""

    number: int
    step: int
    path: Path


def check_step(step: object) -> None:
    """Raise `ValueError` unless a step is an integer of 0 or more."""
    if not isinstance(step, Integral) or step < 0:
        raise ValueError(f"step must be an integer of 0 or more, got {step!r}")


def path_of(folder: Path, step: int) -> Path:
    """Return where the checkpoint of a step is."""
    return folder / f"step_{step:09d}"


def found_in(folder: Path) -> list[Found]:
    """Find the finished checkpoints in a folder, in the order in which they were written.

    One that a save of the same step moved aside counts where that save was stopped before its own appeared.
    """
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if not match or not (path / MANIFEST).is_file() or (match[2] and path.with_suffix("").exists()):
            continue
        manifest = _manifest(path)  # without one it is tried first, and said to be damaged
        found.append(Found(sys.maxsize if manifest is None else manifest.get("number", 0), int(match[1]), path))
    return sorted(found)


def is_valid(one: Found) -> bool:
    """Return whether a checkpoint is of its step, and its files those that its manifest lists, to the last bit."""
    manifest = _manifest(one.path)
    if manifest is None or not manifest["sha256"] or manifest.get("step") != one.step:  # such as a renamed copy
        return False
    listed = manifest["sha256"]
    try:
        there = {path.name for path in one.path.iterdir()} - {MANIFEST}
        return there == set(listed) and all(_sha256(one.path / name) == listed[name] for name in there)
    except (OSError, ValueError):
        return False


def commit(folder: Path, step: int, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary folder, then make it the checkpoint of a step by one rename.

    Everything is on the disk before the rename, and the rename before the return.

    Raises:
        BaseException: what `write` raises; no temporary folder is left, and earlier checkpoints are untouched.
    """
    temporary = folder / f"{TEMPORARY}{step}_{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        write(temporary)
        return finish(folder, step, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish(folder: Path, step: int, temporary: Path) -> Path:
    """Write the manifest of a filled temporary folder, and make it the checkpoint of a step."""
    number = max((one.number for one in found_in(folder) if one.number < sys.maxsize), default=0) + 1
    digests = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
    manifest = json.dumps({"step": step, "number": number, "sha256": digests})
    (temporary / MANIFEST).write_text(f"{manifest}\n{hashlib.sha256(manifest.encode()).hexdigest()}\n")
    for name in (*digests, MANIFEST):
        sync_path(temporary / name)
    sync_path(temporary)
    final = path_of(folder, step)
    aside = final.with_name(final.name + REPLACED)
    if final.exists():
        shutil.rmtree(aside, ignore_errors=True)
        final.rename(aside)  # a rename replaces no folder that holds files, and a kill in between must lose neither
    temporary.rename(final)
    sync_path(folder)
    shutil.rmtree(aside, ignore_errors=True)
    return final


def rotate(folder: Path, keep: int, known: dict[Path, tuple[int, int]]) -> None:
    """Remove all checkpoints but the `keep` latest valid ones, and what crashes left.

    Call it only while this process holds the folder, after a save. `known` remembers what was found to be valid, and
    when its files had changed last, so that a save reads no old checkpoint again.
    """
    kept = 0
    for one in reversed(found_in(folder)):
        if kept < keep and (known.get(one.path) == _changed(one.path) or is_valid(one)):
            kept, known[one.path] = kept + 1, _changed(one.path)
        else:
            shutil.rmtree(one.path, ignore_errors=True)
    aside = (path for path in folder.glob(f"step_*{REPLACED}") if path.with_suffix("").exists())
    for leftover in (*folder.glob(f"{TEMPORARY}*"), *aside):
        shutil.rmtree(leftover, ignore_errors=True)


def hold(owner: object, folder: Path) -> None:
    """Hold a folder, which is made if need be, against other processes."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder_lock.hold(owner, folder)
    except (OSError, folder_lock.FolderInUse) as error:
        raise CheckpointError(f"cannot write checkpoints in {folder}: {error}") from error


def _changed(path: Path) -> tuple[int, int]:
    """Return when the files of a checkpoint changed last, and their bytes."""
    try:
        status = [os.stat(one) for one in path.iterdir()]
    except OSError:
        return 0, -1
    return max((one.st_mtime_ns for one in status), default=0), sum(one.st_size for one in status)


def _manifest(path: Path) -> dict[str, Any] | None:
    """Read a manifest and check it against the digest in its second line, which older ones have not."""
    try:
        with (path / MANIFEST).open("rb") as file:
            text, _, digest = file.read(_LARGEST_MANIFEST).partition(b"\n")
        found = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("sha256"), dict):
        return None
    if type(found.get("number", 0)) is not int:
        return None
    if not digest:
        return None if "number" in found else found
    return found if hashlib.sha256(text).hexdigest().encode() == digest.strip() else None


def _sha256(path: Path) -> str:
    check_regular(path)  # a pipe would be waited for
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
