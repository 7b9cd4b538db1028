"""The clips of a folder, a list or one file; nothing here needs `datasets` or class folders."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from kdvideo._hints import kind
from kdvideo.data import VIDEO_EXTENSIONS, ManifestError, find_videos, read_clip_list
from kdvideo.data.manifests.scanning import describe_skipped


def clips_of(
    videos: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    leave_out: str | os.PathLike[str] | None = None,
) -> list[dict[str, Any]]:
    """List the clips of a folder, of a csv list, or of one video, as rows for `extract`.

    The ids are those of `data.from_folder` and `data.from_csv`. Listed files need not be there.

    Args:
        videos: a folder, of which all videos below are taken, a list as `data.from_csv` reads it (also an official
            one of Kinetics), or a video.
        root: the folder that the paths of a list are relative to; the default is that of the list.
        leave_out: a folder within `videos` to skip.

    Returns:
        Rows with `path`, `clip`, `label` (as listed, or the class folder; empty without one), and `start` and `end` in
        seconds or None.

    Raises:
        ManifestError: there is no video, or a row of the list is wrong; every wrong row is named.
        ValueError: `videos` is no path.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "run").mkdir()
        ...     Path(folder, "run/1.mp4").touch()
        ...     [(row["clip"], row["label"], row["start"]) for row in clips_of(Path(folder))]
        [('run/1.mp4', 'run', None)]
    """
    if not isinstance(videos, (str, os.PathLike)):
        raise ValueError(f"videos must be a folder, a list or a video, got {kind(videos)}: clips_of('videos')")
    videos = Path(videos)
    if videos.is_dir():
        return _of_folder(videos, None if leave_out is None else Path(leave_out))
    if not videos.is_file():
        raise ManifestError(os.fspath(videos), [(0, "no such file or folder")])
    if videos.suffix.lower() in VIDEO_EXTENSIONS:
        return [_clip(videos, videos.name)]
    return read_clip_list(videos, root=root)


def _clip(path: Path, clip: str) -> dict[str, Any]:
    label = clip.partition("/")[0] if "/" in clip else ""
    return {"path": os.fspath(path), "clip": clip, "label": label, "start": None, "end": None}


def _of_folder(top: Path, leave_out: Path | None) -> list[dict[str, Any]]:
    skipped = None if leave_out is None else leave_out.resolve()
    others: Counter[str] = Counter()
    found = [
        path for path in find_videos(top, skipped=others) if skipped is None or skipped not in path.resolve().parents
    ]
    if not found:
        raise ManifestError(os.fspath(top), [(0, f"no video below it (looked for {', '.join(VIDEO_EXTENSIONS)})")])
    if leave_out is not None and skipped is not None and top.resolve() in skipped.parents:
        inside: Counter[str] = Counter()
        list(find_videos(leave_out, skipped=inside))
        others -= inside
    if others:
        warnings.warn(f"{os.fspath(top)}: {describe_skipped(others)}", stacklevel=3)
    return [_clip(path, path.relative_to(top).as_posix()) for path in found]
