"""Extracting the flow of many clips into a `FlowStore`, whatever happens meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from kdvideo.extraction.clip import Job, Row
from kdvideo.extraction.folder import claim, clean
from kdvideo.extraction.locks import Locks
from kdvideo.extraction.summary import Bar, Summary
from kdvideo.extraction.workers import EVERYBODYS, ExtractionError, Pool, sentence
from kdvideo.flow import FlowStore

WAIT = 1.0  # seconds between two looks at clips that other processes are at


def extract(
    manifest: Iterable[Row],
    store: FlowStore,
    *,
    short_side: int | None = 256,
    workers: int = 0,
    devices: Sequence[str] = ("cpu",),
    deadline: float | None = None,
    retry_failed: bool = False,
    progress: bool = False,
) -> Summary:
    """Compute the flow of every clip that has no status in the store yet.

    At the end every clip is either done, with one flow less than frames (a clip of one frame has none), or failed
    with a reason. Killed at any instant, the same call continues, and the files come out the same. Several
    processes and machines may work on one list in one folder; no clip is made by two of them at once. The clips
    that another one is at when this one's are finished are waited for.

    Arguments:
        manifest: rows with `path`, `clip` (a unique id), `start` and `end` in seconds or None.
        store: where the flow goes; its estimator, bound, frame rate and codec are used.
        short_side: pixels of the shorter side of the frames (None: as they are).
        workers: processes, each of one thread; 0 works in this one. A worker that crashes costs one clip. They
            are started anew: a script that calls this must be guarded by `if __name__ == "__main__"`.
        devices: of the workers in turn, for instance `("cuda:0", "cuda:1")`.
        deadline: seconds that a clip may take; needs workers. None sets no limit.
        retry_failed: try the clips again that have failed before.
        progress: show a bar.

    Raises:
        ValueError: an argument is out of its range, an id is not unique or no relative path, the estimator cannot
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
        with closing(Locks(store.folder)) as locks, Bar(len(rows), progress) as bar:
            claim(job, locks)
            clean(store.folder, locks)
            with Pool(job, locks, workers=workers, devices=devices, deadline=deadline) as pool:
                _work_off(rows, job, pool, bar)
            return bar.summary
    except EVERYBODYS as error:
        raise ExtractionError(sentence(error, job)) from error


def _check(
    workers: int, devices: Sequence[str], deadline: float | None, fps: float | None, short_side: int | None
) -> None:
    if workers < 0 or not devices:
        raise ValueError(f"workers must be at least 0, and devices named, got {workers} and {devices}")
    if deadline is not None and not (deadline > 0 and workers > 0):
        raise ValueError(f"deadline must be positive and needs workers, got {deadline} and {workers} workers")
    if (fps is not None and not 0 < fps < 1e4) or (short_side is not None and short_side < 1):
        raise ValueError(f"fps and short_side must be positive, got {fps} and {short_side}")


def _rows(manifest: Iterable[Row], store: FlowStore) -> list[dict[str, Any]]:
    rows = [{name: row[name] for name in ("path", "clip", "start", "end")} for row in manifest]
    twice = [clip for clip, count in Counter(row["clip"] for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"the column `clip` of the manifest must name every clip once, got {twice[0]!r} again")
    for row in rows:
        store.path(row["clip"])
    return rows


def _work_off(rows: Sequence[Row], job: Job, pool: Pool, bar: Bar) -> None:
    """All clips, and again those that other processes were at, until each has an outcome."""
    todo = list(rows)
    while todo:
        todo = [row for row in todo if not bar.take(row, job.known(row["clip"]))]
        todo = [row for row, outcome in pool.run(todo) if not bar.take(row, outcome)]
        if todo:
            bar.say(f"waiting for {len(todo)} clips of another extraction", refresh=True)
            time.sleep(WAIT)
