"""The video files below a folder and the sizes of listed files, with one look at each folder."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from kdvideo.data.video.frame_names import frame_names

VIDEO_EXTENSIONS = (
    ".mp4",
    ".avi",
    ".mkv",
    ".webm",
    ".mov",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".wmv",
    ".flv",
    ".ts",
    ".3gp",
    ".ogv",
    ".mts",
    ".m2ts",
    ".vob",
    ".asf",
    ".3g2",
    ".ogg",
    ".divx",
    ".gif",
)
PREPARED = "prepare.json"  # beside the lists that `kdvideo prepare` writes, which are no clips and nothing to warn of
Entries = dict[str, os.DirEntry[str]]


def find_videos(folder: str | os.PathLike[str], *, skipped: Counter[str] | None = None) -> Iterator[Path]:
    """Find the files with one of the `VIDEO_EXTENSIONS` and the folders of frames below a folder, sorted.

    Hidden ones are skipped. Links to folders are followed, except to one that holds the link.

    Args:
        folder: where to look.
        skipped: counts the extensions of the other files.

    Yields:
        The paths.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.mp4", "a.AVI", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     others = Counter()
        ...     [path.name for path in find_videos(folder, skipped=others)], dict(others)
        (['a.AVI', 'b.mp4'], {'.txt': 1})
    """
    yield from sorted(map(Path, video_paths(os.fspath(folder), skipped=skipped)))


def describe_skipped(skipped: Counter[str]) -> str:
    """Say which files were no clips, such as `3 files are no clips and are skipped: 2 .txt, 1 without extension`."""
    named = ", ".join(f"{count} {name or 'without extension'}" for name, count in skipped.most_common())
    return f"{skipped.total()} files are no clips and are skipped: {named}"


def video_paths(folder: str, *, skipped: Counter[str] | None = None, top: bool = True) -> Iterator[str]:
    """Find the paths that `find_videos` gives, in any order: no file is opened, and only links are examined."""
    try:
        entries = _entries(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # such as `lost+found`
        return
    if not top and frame_names(entries) and not any(entry.is_dir() for entry in entries.values()):
        yield folder
        return
    for entry in entries.values():
        if entry.name.startswith("."):
            continue
        if os.path.splitext(entry.name)[1].lower() in VIDEO_EXTENSIONS and entry.is_file():
            yield entry.path
        elif entry.is_dir() and not (entry.is_symlink() and _holds(entry.path, folder)):
            yield from video_paths(entry.path, skipped=skipped, top=False)
        elif skipped is not None and PREPARED not in entries and not entry.is_dir():
            skipped[os.path.splitext(entry.name)[1].lower()] += 1


def file_sizes(paths: Iterable[str]) -> Iterator[int | None]:
    """Return the bytes of each file or folder of frames, or None where there is none.

    Each folder is listed once. On network file systems that is what makes sizes cheap: a server sends them with the
    list, while a question about one file costs a round trip.
    """
    folders: dict[str, Entries | None] = {}
    for path in paths:
        folder, _, name = path.rpartition(os.sep)
        folder = folder or path[: len(path) - len(name)]
        if folder not in folders:
            folders[folder] = _entries_or_none(folder)
        yield _size(folders[folder], name, path)


def _size(entries: Entries | None, name: str, path: str) -> int | None:
    if entries is not None and name not in entries:
        return None
    try:
        status = os.stat(path) if entries is None else entries[name].stat()
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(status.st_mode):
        frames = _entries_or_none(path) or {}
        return sum(frames[name].stat().st_size for name in frame_names(frames)) or None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _entries(folder: str) -> Entries:
    with os.scandir(folder or ".") as found:
        return {entry.name: entry for entry in found}


def _entries_or_none(folder: str) -> Entries | None:
    try:
        return _entries(folder)
    except (OSError, ValueError):  # its files may be open to us where their list is not
        return None


def _holds(link: str, folder: str) -> bool:
    """Return whether a link in a folder leads to that folder or to one above it."""
    real, here = os.path.realpath(link), os.path.realpath(folder)
    return os.path.commonpath([real, here]) == real
