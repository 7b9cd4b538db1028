"""Extraction of the flow of many clips into a `FlowStore`, which continues where it was stopped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from kdvideo.extraction.job import ClipRow, Job
from kdvideo.extraction.locks import Locks
from kdvideo.extraction.output_folder import record_settings, remove_leftovers
from kdvideo.extraction.result import ExtractionResult, Progress
from kdvideo.extraction.workers import JOB_ERRORS, ExtractionError, Pool, stop_message
from kdvideo.flow import FlowStore

WAIT = 1.0  # seconds between two looks at clips that other processes work on


def extract(
    manifest: Iterable[ClipRow],
    store: FlowStore,
    *,
    short_side: int | None = 256,
    workers: int = 0,
    devices: Sequence[str] = ("cpu",),
    deadline: float | None = None,
    retry_failed: bool = False,
    progress: bool = False,
) -> ExtractionResult:
    """Compute the flow of every clip that has no status in the store yet.

    At the end every clip is either done, with one flow less than frames (a clip of one frame has none), or failed
    with a reason. Killed at any instant, the same call continues, and the files come out the same. Several
    processes and machines may work on one list in one folder; no clip is computed by two of them at once. At the
    end, the call waits for the clips that another process still works on.

    Args:
        manifest: rows with `path`, `clip` (a unique id), `start` and `end` in seconds or None.
        store: where the flow goes; its estimator, bound, frame rate and codec are used.
        short_side: pixels of the shorter side of the frames (None: as they are).
        workers: processes, each of one thread; 0 works in this one. A worker that crashes costs one clip. They
            are spawned: a script that calls this must be guarded by `if __name__ == "__main__"`.
        devices: of the workers in turn, for instance `("cuda:0", "cuda:1")`.
        deadline: seconds that a clip may take; needs workers. None sets no limit.
        retry_failed: try the clips again that have failed before.
        progress: show a bar.

    Returns:
        Counts, and the reason of each failure; printed, it is a summary.

    Raises:
        ValueError: an argument is out of its range, an id is not unique or not a relative path, the estimator cannot
            run here, or the folder holds flow of other settings (the message names them).
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
    _check(workers, devices, deadline, store.fps, short_side)
    job = Job(store, short_side, retry_failed, devices[0])
    rows = _rows(manifest, store)
    job.warm_up()
    try:
        with closing(Locks(store.folder)) as locks, Progress(len(rows), progress) as counts:
            record_settings(job, locks)
            remove_leftovers(store.folder, locks)
            with Pool(job, locks, workers=workers, devices=devices, deadline=deadline) as pool:
                _process(rows, job, pool, counts)
            return counts.result
    except JOB_ERRORS as error:
        raise ExtractionError(stop_message(error, job)) from error


def _check(
    workers: int, devices: Sequence[str], deadline: float | None, fps: float | None, short_side: int | None
) -> None:
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if not devices:
        raise ValueError('devices must name at least one device, such as ("cpu",), got none')
    if deadline is not None and not deadline > 0:
        raise ValueError(f"deadline must be a positive number of seconds, got {deadline}")
    if deadline is not None and not workers:
        raise ValueError(f"deadline={deadline} needs workers, got workers=0: set workers to at least 1")
    if fps is not None and not 0 < fps < 1e4:
        raise ValueError(f"fps must be positive and below 10000, got {fps}")
    if short_side is not None and short_side < 1:
        raise ValueError(f"short_side must be at least 1 pixel, got {short_side}")


def _rows(manifest: Iterable[ClipRow], store: FlowStore) -> list[dict[str, Any]]:
    rows = [{name: row[name] for name in ("path", "clip", "start", "end")} for row in manifest]
    twice = [clip for clip, count in Counter(row["clip"] for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"the column `clip` of the manifest must name every clip once, got {twice[0]!r} again")
    for row in rows:
        store.path(row["clip"])  # raises for what cannot be a file name
    return rows


def _process(rows: Sequence[ClipRow], job: Job, pool: Pool, counts: Progress) -> None:
    """Process all clips, and again those that other processes work on, until each has an outcome."""
    todo = list(rows)
    while todo:
        todo = [row for row in todo if not counts.count(row, job.known_outcome(row["clip"]))]
        todo = [row for row, outcome in pool.run(todo) if not counts.count(row, outcome)]
        if todo:
            counts.show(f"waiting for {len(todo)} clips of another extraction", refresh=True)
            time.sleep(WAIT)
