"""Processing of many clips by a job, which continues where it was stopped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace

from kdvideo.data import ClipError
from kdvideo.extraction.job import ClipRow, Job, Outcome
from kdvideo.extraction.locks import Locks
from kdvideo.extraction.output_folder import record_settings, remove_leftovers
from kdvideo.extraction.result import JobResult, Progress
from kdvideo.extraction.workers import JOB_ERRORS, ExtractionError, Pool, stop_message
from kdvideo.flow import FailedFlowError

WAIT = 1.0  # seconds between two looks at clips that other processes work on


def process(
    manifest: Iterable[ClipRow],
    job: Job,
    result: JobResult,
    *,
    workers: int = 0,
    devices: Sequence[str] = ("cpu",),
    deadline: float | None = None,
    progress: bool = False,
) -> None:
    """Process all clips and count them in `result`; arguments and errors are those of `extract`."""
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if not devices:
        raise ValueError('devices must name at least one device, such as ("cpu",), got none')
    if deadline is not None and not deadline > 0:
        raise ValueError(f"deadline must be a positive number of seconds, got {deadline}")
    if deadline is not None and not workers:
        raise ValueError(f"deadline={deadline} needs workers, got workers=0: set workers to at least 1")
    rows: list[ClipRow] = [{name: row[name] for name in ("path", "clip", "start", "end")} for row in manifest]
    rows = _check_names(rows, job, result)
    job = replace(job, device=devices[0])
    job.warm_up()
    try:
        with closing(Locks(job.folder)) as locks, Progress(result, len(rows), progress) as counts:
            record_settings(job, locks)
            remove_leftovers(job.folder, locks)
            with Pool(job, locks, workers=workers, devices=devices, deadline=deadline) as pool:
                _until_done(rows, job, pool, counts)
    except JOB_ERRORS as error:
        raise ExtractionError(stop_message(error, job)) from error


def _check_names(rows: Sequence[ClipRow], job: Job, result: JobResult) -> list[ClipRow]:
    """Return the clips that can have a file; those of too long a name are counted as failed."""
    twice = [clip for clip, count in Counter(row["clip"] for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"the column `clip` of the manifest must name every clip once, got {twice[0]!r} again")
    taken: dict[object, ClipRow] = {}
    for row in rows:
        try:
            other = taken.setdefault(job.file(row), row)  # raises for what cannot be a file name
        except (ClipError, FailedFlowError) as error:
            result.add(row["clip"], Outcome("failed", reason=getattr(error, "reason", str(error)), new=True))
            continue
        if other is not row:
            names = f"{other['clip']!r} and {row['clip']!r}"
            raise ValueError(f"every clip must have a file of its own, but {names} would both be {job.file(row)}")
    return list(taken.values())


def _until_done(rows: Sequence[ClipRow], job: Job, pool: Pool, counts: Progress) -> None:
    """Process all clips, and again those that other processes work on, until each has an outcome."""
    todo = list(rows)
    while todo:
        todo = [row for row in todo if not counts.count(row, job.known_outcome(row))]
        todo = [row for row, outcome in pool.run(todo) if not counts.count(row, outcome)]
        if todo:
            counts.show(f"waiting for {len(todo)} clips of another process", refresh=True)
            time.sleep(WAIT)
