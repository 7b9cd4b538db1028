"""Which clips of a manifest cannot be read, found before they are needed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kdvideo.data.video.errors import ClipError
from kdvideo.data.video.frame_grid import probe, read_frames


def unreadable_clips(
    manifest: Iterable[Mapping[str, Any]], *, decode: bool = False, threads: int | None = None, progress: bool = False
) -> dict[str, str]:
    """Find the clips that cannot be read, and why.

    All packets and one frame of each file are read, which finds files that are missing, empty, cut short, no videos or
    too large; damage within a frame is found with `decode` alone.

    Args:
        manifest: rows with `path`, `clip`, `start` and `end`, see `from_folder` and `from_csv`.
        decode: decode all frames.
        threads: how many files are read at once; None: two for each core.
        progress: show a bar.

    Returns:
        Id -> reason of every clip that cannot be read, in the order of the manifest.

    Raises:
        ValueError: `manifest` is a path, or a row's `start` or `end` is out of range.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from kdvideo.data import from_folder, synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = synthetic.write_dataset(f"{folder}/clips", clips_per_class={"train": 1}, frames=4, fps=10)
        ...     _ = Path(root, "train/orbit/0000.mp4").write_bytes(b"")
        ...     unreadable_clips(from_folder(root / "train"))
        {'orbit/0000.mp4': 'the file is empty'}
    """
    if isinstance(manifest, (str, os.PathLike)):
        raise ValueError(f"manifest must be rows of clips, got {manifest!r}: kdvideo.data.from_folder(folder)")
    from tqdm import tqdm

    def reason(row: Mapping[str, Any]) -> str:
        try:
            (read_frames if decode else probe)(row["path"], start=row["start"], end=row["end"], short_side=None)
        except ClipError as error:
            return error.reason
        return ""

    rows = list(manifest)
    with ThreadPoolExecutor(threads or 2 * (os.cpu_count() or 1)) as pool:
        shown = tqdm(pool.map(reason, rows), total=len(rows), unit="clip", disable=not progress, dynamic_ncols=True)
        return {str(row["clip"]): text for row, text in zip(rows, shown, strict=True) if text}
