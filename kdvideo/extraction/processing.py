"""Processing of many clips by a job, which continues where it was stopped."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TypedDict

from kdvideo.data import ClipError
from kdvideo.extraction.cluster import cluster
from kdvideo.extraction.engines import Engine, in_process, processes
from kdvideo.extraction.job import JOB_ERRORS, ClipRow, ExtractionError, Job, Outcome
from kdvideo.extraction.output_folder import record_settings
from kdvideo.extraction.result import JobResult, Progress
from kdvideo.files import TEMPORARY, remove_abandoned
from kdvideo.flow import FailedFlowError

DEADLINE = 600.0


class Running(TypedDict, total=False):
    """Where and how clips are worked on; all of it may be left out, and changes no byte of what is made.

    Attributes:
        workers: processes, each of one thread; 0 (the default) works in this one. A worker that crashes costs one
            clip. They are spawned: a script must be guarded by `if __name__ == "__main__"`.
        devices: of the workers in turn (default: "cpu"), for instance `("cuda:0", "cuda:1")`; "cuda" is the GPU of its
            machine that the fewest workers have.
        scheduler: instead of `workers`, the address of a Dask scheduler, or a number of Dask workers on this machine.
            Videos and output must have the same paths on all machines.
        deadline: seconds that a clip may take in a worker (default 600); 0 sets no limit.
        shard: (i, n) for the i-th of n shares of the clips, from 1 on; who works on the others does not matter.
        retry_failed: try the clips again that have failed before.
        progress: show a bar.

    Examples:
        >>> import tempfile
        >>> from kdvideo import extraction, flow
        >>> from kdvideo.data import synthetic
        >>> half: Running = {"shard": (1, 2), "retry_failed": True}
        >>> with tempfile.TemporaryDirectory() as place:
        ...     root = synthetic.write_dataset(f"{place}/clips", clips_per_class={"train": 1}, frames=4, fps=10)
        ...     store = flow.FlowStore(f"{place}/flow", fps=10)
        ...     extraction.extract(extraction.clips_of(root / "train"), store, short_side=32, **half).done
        3
    """

    workers: int
    devices: Sequence[str]
    scheduler: str | int
    deadline: float
    shard: tuple[int, int]
    retry_failed: bool
    progress: bool


def process(
    manifest: Iterable[ClipRow],
    job: Job,
    result: JobResult,
    *,
    workers: int = 0,
    devices: Sequence[str] = ("cpu",),
    scheduler: str | int = 0,
    deadline: float = DEADLINE,
    shard: tuple[int, int] = (1, 1),
    retry_failed: bool = False,
    progress: bool = False,
    **unknown: object,
) -> None:
    """Process all clips and count them in `result`; arguments are those of `Running`, errors those of `extract`."""
    if unknown:
        raise ValueError(f"options must be among {list(Running.__annotations__)}, got {list(unknown)}: see Running")
    check_manifest(manifest)
    _check(workers, devices, deadline, shard)
    rows: list[ClipRow] = [{name: row[name] for name in ("path", "clip", "start", "end")} for row in manifest]
    rows = _check_names(rows, job, result)[shard[0] - 1 :: shard[1]]
    job = replace(job, device=devices[0], retry_failed=retry_failed)
    if not isinstance(scheduler, str):  # else this machine may lack what the workers have
        job.warm_up()
    try:
        record_settings(job)
        remove_abandoned(job.folder.rglob(TEMPORARY + "*"))
        engine = _engine(job, workers, devices, scheduler, deadline)
        with Progress(result, len(rows), progress) as counts:
            _run(rows, job, engine, counts)
    except JOB_ERRORS as error:
        raise ExtractionError(job.stop_message(error)) from error


def check_manifest(manifest: object) -> None:
    """Raise ValueError for a path in the place of the rows of its clips."""
    if isinstance(manifest, (str, os.PathLike)):
        raise ValueError(f"manifest must be rows of clips, got {manifest!r}: kdvideo.extraction.clips_of(folder)")


def _engine(
    job: Job, workers: int, devices: Sequence[str], scheduler: str | int, deadline: float
) -> AbstractContextManager[Engine]:
    if scheduler:
        return cluster(job, scheduler, devices, deadline)
    return processes(job, workers, devices, deadline) if workers else in_process(job)


def _check(workers: int, devices: Sequence[str], deadline: float, shard: tuple[int, int]) -> None:
    if not hasattr(workers, "__index__") or workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers!r}: a number of processes")
    if not isinstance(devices, (tuple, list)):
        raise ValueError(f"devices must be a tuple of names, got {devices!r}: ({str(devices)!r},)")
    if not devices:
        raise ValueError('devices must name at least one device, such as ("cpu",), got none')
    if not deadline >= 0:
        raise ValueError(f"deadline must be a positive number of seconds, or 0 for none, got {deadline}")
    if not isinstance(shard, (tuple, list)) or len(shard) != 2 or not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard must be (i, n) with i in 1..n, got {shard}")


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


def _run(rows: Sequence[ClipRow], job: Job, engine: AbstractContextManager[Engine], counts: Progress) -> None:
    """Process those clips that have no outcome yet."""
    todo: list[ClipRow] = []
    for row in rows:
        known = job.known_outcome(row)
        if known is None:
            todo.append(row)
        else:
            counts.count(row, known)
    if not todo:
        return
    at_work: dict[Future[Outcome], ClipRow] = {}
    try:
        with engine as working:
            for row, outcome in working.outcomes(todo, at_work):
                counts.count(row, outcome)
    finally:
        for row in at_work.values():  # of workers that were killed
            job.remove_temporary(row)
