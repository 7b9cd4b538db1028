"""Extracting the flow of many clips into a `FlowStore`, whatever happens meanwhile."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdvideo.extraction.clip import Job, Outcome, Row
from kdvideo.extraction.locks import Locks
from kdvideo.extraction.workers import ExtractionError, Pool, sentence
from kdvideo.flow import FlowStore
from kdvideo.flow._files import TEMPORARY, publish, sync, temporary
from kdvideo.flow._sidecars import tag

SETTINGS = "extraction.json"
WAIT = 1.0  # seconds between two looks at clips that other processes are at


@dataclass
class Summary:
    """What became of the clips of a job: counts, and the reason of each failure by clip id."""

    done: int = 0
    new: int = 0
    frames: int = 0
    flows: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, clip_id: str, outcome: Outcome) -> None:
        """Count a clip that is done or failed."""
        self.new += outcome.new
        if outcome.status == "failed":
            self.failed[clip_id] = outcome.reason
            return
        self.done, self.frames, self.flows = self.done + 1, self.frames + outcome.flows + 1, self.flows + outcome.flows

    def __str__(self) -> str:
        lines = [f"{self.done} clips done ({self.flows} flows), {len(self.failed)} failed"]
        for reason, count in Counter(self.failed.values()).most_common():
            names = [clip for clip, why in self.failed.items() if why == reason]
            more = f" and {count - 3} more" if count > 3 else ""
            lines.append(f"  {count} x {reason}: {', '.join(names[:3])}{more}")
        return "\n".join(lines)


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
        locks = Locks(store.folder)
    except OSError as error:
        raise ExtractionError(sentence(error, job)) from error
    try:
        _claim(job, locks)
        _clean(job, locks)
        with (
            Pool(job, locks, workers=workers, devices=devices, deadline=deadline) as pool,
            _Bar(len(rows), progress) as bar,
        ):
            _work_off(rows, job, pool, bar)
        return bar.summary
    except OSError as error:
        raise ExtractionError(sentence(error, job)) from error
    finally:
        locks.close()


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


def _claim(job: Job, locks: Locks) -> None:
    """Write down the settings of the folder, or compare them."""
    store, path = job.store, job.store.folder / SETTINGS
    settings = {"bound": store.bound, "fps": store.fps, "short_side": job.short_side, "size": store.size}
    settings |= {"codec": str(store.codec), "estimator": store.fingerprint}
    settings = json.loads(json.dumps(settings))
    with locks.waited_for(tag("")):
        if not path.exists():
            with temporary(store.folder, tag("")) as file:
                file.write(json.dumps(settings, indent=1).encode() + b"\n")
                sync(file)
                publish(file, path)
        try:
            found = dict(json.loads(path.read_bytes()))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged ({error}): remove it if you know the settings of the folder"
            ) from error
    differ = [f"{k} is {found.get(k)!r} there, {v!r} here" for k, v in settings.items() if found.get(k) != v]
    if differ:
        raise ValueError(f"{store.folder} holds flow of other settings; choose another folder ({'; '.join(differ)})")


def _clean(job: Job, locks: Locks) -> None:
    """Remove what killed writers left behind, but nothing that is being written."""
    for path in job.store.folder.rglob(TEMPORARY + "*"):
        whose = re.fullmatch(re.escape(TEMPORARY) + "([0-9a-f]{16})[0-9a-f]{32}", path.name)
        if whose:
            with locks.held(whose[1]) as mine:
                if mine:
                    path.unlink(missing_ok=True)


def _work_off(rows: Sequence[Row], job: Job, pool: Pool, bar: _Bar) -> None:
    """All clips, and again those that other processes were at, until each has an outcome."""
    todo = list(rows)
    while todo:
        todo = [row for row in todo if not bar.take(row, job.known(row["clip"]))]
        todo = [row for row, outcome in pool.run(todo) if not bar.take(row, outcome)]
        if todo:
            bar.say(f"waiting for {len(todo)} clips of another extraction", refresh=True)
            time.sleep(WAIT)


class _Bar:
    """The summary as it grows and, if wanted, on the terminal."""

    def __init__(self, total: int, shown: bool) -> None:
        from tqdm import tqdm

        self.summary, self.made, self.began = Summary(), 0, time.monotonic()
        self.bar: Any = tqdm(total=total, unit="clip", disable=not shown, smoothing=0.05, dynamic_ncols=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def say(self, text: str, *, refresh: bool = False) -> None:
        """Show a text in place of the counts, at once or with the next clip."""
        self.bar.set_postfix_str(text, refresh=refresh)

    def take(self, row: Row, outcome: Outcome | None) -> bool:
        """Count a clip; False if it has no outcome yet."""
        if outcome is None or outcome.status == "busy":
            return False
        self.summary.add(row["clip"], outcome)
        self.made += outcome.flows if outcome.new else 0
        rate = self.made / max(time.monotonic() - self.began, 1e-9)
        self.say(f"{self.summary.done} done, {len(self.summary.failed)} failed, {rate:.1f} flows/s")
        if not (outcome.new or self.bar.disable):  # no work: it must not count for the remaining time
            self.bar.initial += 1
        self.bar.update()
        return True
