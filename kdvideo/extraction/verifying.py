"""Verification of all flow in a folder: sizes, counts, checksums and settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kdvideo._escaping import printable
from kdvideo.extraction.flow_job import SETTINGS
from kdvideo.extraction.job import ClipRow
from kdvideo.files import TEMPORARY
from kdvideo.flow import LOSSLESS, FlowCodec
from kdvideo.flow.store import sidecars
from kdvideo.flow.store.origins import what_changed


class Problem(NamedTuple):
    """A file, relative to the folder, and what is wrong with it.

    Args:
        file: its path below the folder.
        text: what is wrong.

    Examples:
        >>> str(Problem("run/1.mp4.flow.json", "failed: the file is empty"))
        'run/1.mp4.flow.json: failed: the file is empty'
    """

    file: str
    text: str

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.text}")


def verify(
    folder: str | os.PathLike[str],
    *,
    codec: FlowCodec = LOSSLESS,
    deep: Iterable[ClipRow] = (),
    progress: bool = False,
) -> list[Problem]:
    """Find everything that is wrong in a folder of flow; nothing is changed.

    Each file of flow is read and compared with the size, number and checksums in its sidecar, and the sidecar with
    the settings of the extraction. Failed clips, flow without a sidecar and temporary files are problems, too.

    Args:
        folder: that of a `FlowStore`.
        codec: needed only for flow that was written with a codec of your own.
        deep: clips, whose contents are compared with those that their flow was made of, see `clips_of`.
        progress: show a bar.

    Returns:
        The problems, sorted by file; empty where all is well.

    Raises:
        ValueError: there is no such folder.

    Examples:
        >>> import tempfile, torch
        >>> from kdvideo.flow import FlowStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     FlowStore(folder).fail("clip.mp4", "the file is empty")
        ...     [str(problem) for problem in verify(folder)]
        ['clip.mp4.flow.json: failed: the file is empty']
    """
    from tqdm import tqdm

    top = Path(folder)
    if not top.is_dir():
        raise ValueError(f"folder must be a folder of flow, got {top}: no such folder")
    settings, problems = _settings(top)
    videos = {str(row["clip"]): str(row["path"]) for row in deep}
    files = sorted(path for path in top.rglob("*") if not path.is_dir())
    for path in tqdm(files, unit="file", disable=not progress, dynamic_ncols=True):
        name = path.relative_to(top).as_posix()
        video = videos.get(name.removesuffix(sidecars.SUFFIX))
        problems += [Problem(name, text) for text in _check_file(path, settings, codec, video)]
    return sorted(problems)


def _settings(top: Path) -> tuple[dict[str, Any], list[Problem]]:
    try:
        return dict(json.loads((top / SETTINGS).read_bytes())), []
    except FileNotFoundError:
        return {}, []
    except (TypeError, ValueError) as error:
        return {}, [Problem(SETTINGS, f"damaged: {error}")]


def _check_file(path: Path, settings: dict[str, Any], codec: FlowCodec, video: str | None) -> Iterator[str]:
    if path.name.startswith(TEMPORARY):
        yield "temporary file of a writer that is running or was killed; extraction removes those of killed ones"
    elif path.name.endswith(sidecars.SUFFIX):
        yield from _check_clip(path, settings, codec, video)
    elif ".flow." in path.name:
        sidecar = path.with_name(path.name.rpartition(".flow.")[0] + sidecars.SUFFIX)
        try:
            info = sidecars.load(sidecar)
        except ValueError:
            return  # reported for the sidecar
        if info is None or info.get("file") != path.name:
            yield "flow without a sidecar that says so; extraction computes it again"


def _check_clip(sidecar: Path, settings: dict[str, Any], codec: FlowCodec, video: str | None) -> Iterator[str]:
    try:
        info = sidecars.load(sidecar)
        assert info is not None
        if video is not None and (changed := what_changed(info.get("origin"), video, deep=True)):
            yield f"{video} is another file than its flow was made of ({changed}); extract again"
        if info["status"] == "failed":
            yield f"failed: {info['reason']}"
            return
        for name in ("estimator", "bound", "fps", "codec"):
            if name in settings and info.get(name) != settings[name]:
                yield f"{name} is {info.get(name)!r}, that of the extraction is {settings[name]!r}"
        sidecars.verify(sidecar, info, codec)
    except (ValueError, OSError) as error:
        yield f"{error}; remove the sidecar and extract again"
