"""Extraction in one process: statuses, starting again, other settings, and what may not be touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kdvideo import data
from kdvideo import flow as kf
from kdvideo.extraction import ExtractionError, extract, flow_job, locks, processing
from kdvideo.flow.store.sidecars import tag
from tests.extraction.fakes import Fake, clips, files, row, store, write_clip

SIDE = 48
HOLD = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_EX, 1, int(sys.argv[2], 16) >> 2)
print("held", flush=True)
sys.stdin.read()
"""


def hold(folder: Path, clip_id: str) -> subprocess.Popen[str]:
    """A process that holds the lock of a clip until its input ends."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(folder / ".lock"), tag(clip_id)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def lines(log: Path) -> list[str]:
    return sorted(log.read_text().split()) if log.exists() else []


def test_every_clip_is_done_or_failed(tmp_path: Path) -> None:
    rows = clips(tmp_path / "videos")
    (tmp_path / "videos" / "text.mp4").write_text("<html>404</html>")
    (tmp_path / "videos" / "empty.mp4").touch()
    for name, first in (("one.mp4", 90), ("nan.mp4", 100), ("error.mp4", 110)):
        write_clip(tmp_path / "videos" / name, first, 1 if name == "one.mp4" else 5)
    names = ["text.mp4", "empty.mp4", "gone.mp4", "one.mp4", "nan.mp4", "error.mp4"]
    rows = [row(tmp_path / "videos", name) for name in names] + rows
    place = store(tmp_path / "flow", estimator=Fake({100: "nan", 110: "error"}))
    summary = extract(rows, place, short_side=SIDE)
    assert summary.failed == {
        "text.mp4": "not a video but text, beginning with '<html>404</html>'",
        "empty.mp4": "the file is empty",
        "gone.mp4": "no such file",
        "nan.mp4": "flow has a component that is NaN or infinite",
        "error.mp4": "RuntimeError: no such texture",
    }
    assert (summary.done, summary.new, summary.frames - summary.flows) == (5, 10, 5)
    for listed in rows:
        info = place.info(listed["clip"])
        assert info is not None
        if info["status"] == "done":
            frames = data.read_frames(listed["path"], fps=10, short_side=SIDE)
            assert info["frames"] == len(frames)
            expected = Fake()(frames) if len(frames) > 1 else torch.zeros(0, 2, 48, 64)
            assert torch.allclose(place(listed["clip"], frames), expected, atol=20 / 254 + 1e-5)
        else:
            assert info["reason"] == summary.failed[listed["clip"]]
    assert not any(".writing" in name for name in files(tmp_path / "flow"))
    assert str(tmp_path).encode() not in b"".join(files(tmp_path / "flow").values())


def test_summary_says_what_failed(tmp_path: Path) -> None:
    rows = [*clips(tmp_path, 1), *(row(tmp_path, f"{i}.mp4") for i in range(5))]
    text = str(extract(rows, store(tmp_path / "flow"), short_side=SIDE))
    assert text == "1 clips done (4 flows), 5 failed\n  5 x no such file: 0.mp4, 1.mp4, 2.mp4 and 2 more"


def test_long_clips_go_through_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clips(tmp_path, 2, frames=23)
    extract(rows, store(tmp_path / "whole", estimator=Fake(log=str(tmp_path / "log1"))), short_side=SIDE)
    monkeypatch.setattr(flow_job, "FRAME_BYTES", 3 * 48 * 64 * 8)
    monkeypatch.setattr(flow_job, "PAIRS", 3)
    extract(rows, store(tmp_path / "pieces", estimator=Fake(log=str(tmp_path / "log2"))), short_side=SIDE)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")
    assert len(lines(tmp_path / "log1")) == 2
    assert len(lines(tmp_path / "log2")) == 2 * (3 * 3 + 1)


def test_workers_make_the_same_bytes(tmp_path: Path) -> None:
    rows = [*clips(tmp_path, 3), row(tmp_path, "gone.mp4")]
    one = extract(rows, store(tmp_path / "one"), short_side=SIDE)
    two = extract(rows, store(tmp_path / "two"), short_side=SIDE, workers=2, deadline=60.0)
    assert two == one
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_started_again_it_does_only_what_is_left(tmp_path: Path) -> None:
    rows, log = clips(tmp_path, 3), tmp_path / "log"
    rows.append(row(tmp_path, "late.mp4"))
    place = store(tmp_path / "flow", estimator=Fake(log=str(log)))
    assert extract(rows[:2], place, short_side=SIDE).done == 2
    assert extract(rows, place, short_side=SIDE).failed == {"late.mp4": "no such file"}
    before = files(tmp_path / "flow")
    again = extract(rows, place, short_side=SIDE)
    assert (again.new, again.done, len(again.failed)) == (0, 3, 1)
    assert files(tmp_path / "flow") == before
    assert extract(rows, place, short_side=SIDE, retry_failed=True).new == 1
    write_clip(tmp_path / "late.mp4", 200)
    with pytest.warns(UserWarning, match="there was none, and now it has"):
        last = extract(rows, place, short_side=SIDE)
    assert (last.new, last.done, last.failed) == (1, 4, {})
    assert lines(log) == ["10", "20", "200", "30"]


@pytest.mark.parametrize("damage", ["sidecar", "truncated", "missing"])
def test_damaged_clips_are_made_anew(tmp_path: Path, damage: str) -> None:
    rows, place = clips(tmp_path, 2), store(tmp_path / "flow")
    extract(rows, place, short_side=SIDE)
    before = files(tmp_path / "flow")
    sidecar, path = place.sidecar("a/clip000.mp4"), place.path("a/clip000.mp4")
    if damage == "sidecar":
        sidecar.write_bytes(sidecar.read_bytes()[:50])
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    assert extract(rows, place, short_side=SIDE).new == 1
    assert files(tmp_path / "flow") == before


@pytest.mark.parametrize(
    ("other", "side", "message"),
    [
        ({"bound": 10}, SIDE, "bound is 20.0 there, 10.0 here"),
        ({"fps": 5}, SIDE, "fps is 10.0 there, 5.0 here"),
        ({"codec": kf.UNCOMPRESSED}, SIDE, r"codec is 'Zstd\(level=9\)' there, 'Raw\(\)' here"),
        ({"estimator": kf.TVL1Estimator()}, SIDE, r"estimator is 'Fake\(\)' there, .TVL1\("),
        ({}, 32, "short_side is 48 there, 32 here"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, other: dict[str, object], side: int, message: str) -> None:
    rows = clips(tmp_path, 1)
    extract(rows, store(tmp_path / "flow"), short_side=SIDE)
    before = files(tmp_path / "flow")
    with pytest.raises(ValueError, match=f"holds flow of other settings.*{message}"):
        extract(rows, store(tmp_path / "flow", **other), short_side=side)
    assert files(tmp_path / "flow") == before


def test_flow_of_other_settings_in_a_folder_that_no_extraction_made(tmp_path: Path) -> None:
    rows = clips(tmp_path, 1)
    kf.FlowStore(tmp_path / "flow", fps=25).write(rows[0]["clip"], torch.zeros(3, 2, 8, 8))
    with pytest.raises(ValueError, match="has estimator TVL1"):
        extract(rows, store(tmp_path / "flow", fps=25), short_side=SIDE)


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "extraction.json").write_text("[1")
    with pytest.raises(ValueError, match=r"extraction\.json is damaged"):
        extract(clips(tmp_path, 1), store(tmp_path / "flow"), short_side=SIDE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers must be at least 0"),
        ({"devices": ()}, "devices"),
        ({"deadline": 3.0}, "deadline=3.0 needs workers"),
        ({"deadline": 0.0, "workers": 1}, "deadline must be a positive number"),
        ({"short_side": 0}, "short_side must be at least 1"),
    ],
)
def test_bad_arguments(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extract([], store(tmp_path / "flow"), **options)
    assert not (tmp_path / "flow").exists()


def test_ids_must_be_unique_relative_paths(tmp_path: Path) -> None:
    for rows, message in (
        ([row(tmp_path, "a.mp4"), row(tmp_path, "a.mp4")], "got 'a.mp4' again"),
        ([row(tmp_path, "../a.mp4")], "relative path"),
    ):
        with pytest.raises(ValueError, match=message):
            extract(rows, store(tmp_path / "flow"))
    assert not (tmp_path / "flow").exists()


def test_an_estimator_that_cannot_run_is_no_fault_of_the_clips(tmp_path: Path) -> None:
    class Broken(Fake):
        def __call__(self, *_: object, **__: object) -> torch.Tensor:
            raise ImportError("no module named cv2")

    with pytest.raises(ValueError, match="does not run on cpu: ImportError: no module named cv2"):
        extract(clips(tmp_path, 1), store(tmp_path / "flow", estimator=Broken()), short_side=SIDE)
    assert not (tmp_path / "flow").exists()


@pytest.mark.parametrize("at", [1, 2, 5, 9, 10])
def test_a_full_disk_stops_the_job_and_is_no_fault_of_the_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    rows = [*clips(tmp_path, 2), row(tmp_path, "gone.mp4")]
    extract(rows, store(tmp_path / "whole"), short_side=SIDE)
    real, calls = os.fsync, 0

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls > at:
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ExtractionError, match="flow cannot be written: No space left on device"):
            extract(rows, store(tmp_path / "flow"), short_side=SIDE)
    left = files(tmp_path / "flow")
    assert not any(".writing" in name for name in left)
    assert not any(b"space" in value for value in left.values())
    extract(rows, store(tmp_path / "flow"), short_side=SIDE)
    assert files(tmp_path / "flow") == files(tmp_path / "whole")


def test_a_device_without_memory_stops_the_job_and_is_no_fault_of_the_clips(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match="cpu is out of memory: use fewer workers"):
        extract(clips(tmp_path, 3), store(tmp_path / "flow", estimator=Fake({20: "memory"})), short_side=SIDE)
    assert [p.name for p in (tmp_path / "flow").rglob("*.json")] == ["extraction.json", "clip000.mp4.flow.json"]


def test_interrupted_it_leaves_nothing_half_done(tmp_path: Path) -> None:
    rows = clips(tmp_path, 3)
    extract(rows, store(tmp_path / "whole"), short_side=SIDE)
    with pytest.raises(KeyboardInterrupt):
        extract(rows, store(tmp_path / "flow", estimator=Fake({20: "interrupt"})), short_side=SIDE)
    assert list(store(tmp_path / "flow")) == ["a/clip000.mp4"]
    assert not any(".writing" in name for name in files(tmp_path / "flow"))
    extract(rows, store(tmp_path / "flow"), short_side=SIDE)
    assert files(tmp_path / "flow") == files(tmp_path / "whole")


def test_leftovers_go_but_not_what_is_being_written(tmp_path: Path) -> None:
    folder, mine, other = tmp_path / "flow", "a/clip000.mp4", "a/clip002.mp4"
    process = hold(folder, other)
    (folder / "a").mkdir()
    for clip_id in (mine, other):
        (folder / "a" / f".writing-{tag(clip_id)}{'0' * 32}").touch()
    extract(clips(tmp_path, 1), store(folder), short_side=SIDE)
    assert [p.name for p in (folder / "a").glob(".writing*")] == [f".writing-{tag(other)}{'0' * 32}"]
    process.communicate("")
    extract(clips(tmp_path, 1), store(folder), short_side=SIDE)
    assert not list((folder / "a").glob(".writing*"))


@pytest.mark.parametrize("finished", [False, True])
def test_a_clip_that_another_process_is_at_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    rows, log, folder = clips(tmp_path, 3), tmp_path / "log", tmp_path / "flow"
    whole = store(tmp_path / "whole")
    extract(rows, whole, short_side=SIDE)
    process = hold(folder, rows[0]["clip"])

    def sleep(_: float) -> None:
        assert lines(log) == ["20", "30"]
        if finished:
            for path in (whole.path(rows[0]["clip"]), whole.sidecar(rows[0]["clip"])):
                (folder / path.relative_to(whole.folder)).write_bytes(path.read_bytes())
        process.communicate("")

    monkeypatch.setattr(processing, "time", SimpleNamespace(sleep=sleep, monotonic=time.monotonic))
    summary = extract(rows, store(folder, estimator=Fake(log=str(log))), short_side=SIDE)
    assert (summary.done, summary.new) == (3, 2 if finished else 3)
    assert lines(log) == (["20", "30"] if finished else ["10", "20", "30"])
    assert files(folder) == files(whole.folder)


def test_what_another_process_finished_before_the_lock_was_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, log, place = clips(tmp_path, 1), tmp_path / "log", store(tmp_path / "flow")
    extract(rows, place, short_side=SIDE)
    known, calls = flow_job.FlowJob.known_outcome, []

    def late(self: flow_job.FlowJob, row: dict[str, str]) -> object:
        calls.append(row["clip"])
        return known(self, row) if len(calls) > 1 else None

    monkeypatch.setattr(flow_job.FlowJob, "known_outcome", late)
    assert extract(rows, store(tmp_path / "flow", estimator=Fake(log=str(log))), short_side=SIDE).new == 0
    assert lines(log) == []


def test_a_lock_is_free_again_when_its_clip_is_finished(tmp_path: Path) -> None:
    attempt = HOLD.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB")
    command = [sys.executable, "-c", attempt, str(tmp_path / ".lock"), tag("clip")]
    mine = locks.Locks(tmp_path)
    with mine.try_lock(tag("clip")) as acquired, mine.try_lock(tag("other")):
        assert acquired
        assert "BlockingIOError" in subprocess.run(command, input="", capture_output=True, text=True).stderr
    assert subprocess.run(command, input="", capture_output=True, text=True).stdout == "held\n"
    mine.close()


def test_settings_hold_no_time_and_no_place(tmp_path: Path) -> None:
    extract(clips(tmp_path, 1), store(tmp_path / "flow"), short_side=SIDE)
    assert json.loads((tmp_path / "flow" / "extraction.json").read_text()) == {
        "bound": 20.0,
        "fps": 10,
        "short_side": SIDE,
        "size": None,
        "codec": "Zstd(level=9)",
        "estimator": "Fake()",
    }
