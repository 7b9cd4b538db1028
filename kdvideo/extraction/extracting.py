"""Extraction of the flow of many clips into a `FlowStore`, which continues where it was stopped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from kdvideo._hints import kind
from kdvideo.extraction.flow_job import FlowJob
from kdvideo.extraction.job import ClipRow
from kdvideo.extraction.processing import Running, process
from kdvideo.extraction.result import ExtractionResult
from kdvideo.flow import FlowStore


def extract(
    manifest: Iterable[ClipRow], store: FlowStore, *, short_side: int | None = 256, **running: Unpack[Running]
) -> ExtractionResult:
    """Compute the flow of every clip that has no status in the store yet.

    At the end every clip is either done, with one flow less than frames (a clip of one frame has none), or failed
    with a reason. Killed at any instant, the same call continues, and the files come out the same. Two calls at
    once on one list and folder harm nothing, but they do the work twice: give each a `shard`.

    Args:
        manifest: rows with `path`, `clip` (a unique id), `start` and `end` in seconds or None.
        store: where the flow goes; its estimator, bound, frame rate and codec are used.
        short_side: pixels of the shorter side of the frames (None: as they are).
        **running: where and how, see `Running`; without them, in this process.

    Returns:
        Counts, and the reason of each failure; printed, it is a summary.

    Raises:
        ValueError: an argument is of another type or out of its range, an option is none of `Running`, an id is not
            unique or not a relative path, the estimator cannot run here, or the folder holds flow of other settings
            (the message names them).
        ExtractionError: the folder cannot be written (a full disk), a worker cannot start, or a device is out of
            memory. What is done stays done.

    Examples:
        >>> import tempfile
        >>> from kdvideo import data, flow
        >>> from kdvideo.data import synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = synthetic.write_dataset(f"{folder}/clips", clips_per_class={"train": 1}, frames=4, fps=10)
        ...     clips = data.from_folder(root / "train").select(range(2))
        ...     print(extract(clips, flow.FlowStore(f"{folder}/flow", fps=10), short_side=32))
        2 clips done (6 flows), 0 failed
    """
    if not isinstance(store, FlowStore):
        raise ValueError(f"store must be a FlowStore, got {kind(store)}: kdvideo.flow.FlowStore(folder)")
    if store.fps is not None and not 0 < store.fps < 1e4:
        raise ValueError(f"fps must be positive and below 10000, got {store.fps}")
    if short_side is not None and short_side < 1:
        raise ValueError(f"short_side must be at least 1 pixel, got {short_side}")
    result = ExtractionResult()
    process(manifest, FlowJob(store=store, short_side=short_side), result, **running)
    return result
