"""Extraction that is killed, stopped, raced, crashed and starved of disk: B12 and B13 of the reliability tests."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from kdvideo.extraction import ExtractionError, clips_of, extract, verify
from tests.extraction.fakes import Fake, clips, files, row, store, write_clip

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def start(videos: Path, out: Path, **options: object) -> subprocess.Popen[str]:
    """An extraction with a process group of its own."""
    command = [sys.executable, "-m", "tests.extraction.run_job", str(videos), str(out), json.dumps(options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes)


def calls(log: Path) -> Counter[str]:
    return Counter(log.read_text().split() if log.exists() else [])


def until(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def alive(*, group: int | None = None, parent: int | None = None) -> list[int]:
    """Processes of a group or of a parent that are more than zombies, in the order of their numbers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, of, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if state != "Z" and (int(its_group) == group or int(of) == parent):
            found.append(int(entry.name))
    return sorted(found)


def many(root: Path, count: int) -> None:
    """Tiny clips, every tenth of them bad in one of three ways."""
    for i in range(count):
        path = root / f"{i % 7}" / f"clip{i:03d}.mp4"
        write_clip(path, 1 + i, frames=3 + i % 4)
        if i % 10 == 4:
            whole = path.read_bytes()
            path.write_bytes({0: b"", 1: b"<html>gone</html>", 2: whole[: len(whole) // 2]}[i // 10 % 3])


def check_statuses(videos: Path, out: Path) -> None:
    place = store(out)
    states = Counter()
    for clip in clips_of(videos):
        info = place.info(clip["clip"])
        assert info is not None
        states[info["status"]] += 1
        assert info["status"] == "failed" or info["frames"] - 1 == info["flows"] > 0
        assert place.path(clip["clip"]).exists() == (info["status"] == "done")
    assert states["failed"] == sum(states.values()) // 10
    assert len([name for name in files(out) if name.endswith(".json")]) == sum(states.values()) + 1
    assert not any(".writing" in name for name in files(out))


@pytest.mark.timeout(900)
def test_killed_at_ten_instants_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    videos, log = tmp_path / "videos", tmp_path / "log"
    many(videos, 200)
    whole = str(extract(clips_of(videos), store(tmp_path / "whole"), short_side=48))
    chance = random.Random(0)
    for round_ in range(10):
        job = start(videos, tmp_path / "flow", workers=2, log=str(log), pause=0.02)
        enough = sum(calls(log).values()) + chance.randrange(1, 12)
        until(lambda n=enough, j=job: sum(calls(log).values()) >= n or j.poll() is not None)
        time.sleep(chance.random() * 0.05)
        assert job.poll() is None, f"round {round_} was not killed: {job.communicate()}"
        os.killpg(job.pid, signal.SIGKILL)
        job.communicate()
    job = start(videos, tmp_path / "flow", workers=2, log=str(log))
    out, err = job.communicate()
    assert (job.returncode, out) == (0, whole + "\n"), err
    assert whole.startswith("180 clips done")
    assert files(tmp_path / "flow") == files(tmp_path / "whole")
    check_statuses(videos, tmp_path / "flow")
    assert set(calls(log)) == {str(1 + i) for i in range(200) if i % 10 != 4}
    assert sum(calls(log).values()) <= 180 + 10 * 2  # a kill costs what its two workers were at, and no more
    assert len(verify(tmp_path / "flow")) == 20


def test_two_at_once_share_the_work_though_one_stands_still(tmp_path: Path) -> None:
    videos, log = tmp_path / "videos", tmp_path / "log"
    many(videos, 100)
    whole = str(extract(clips_of(videos), store(tmp_path / "whole"), short_side=48))
    jobs = [start(videos, tmp_path / "flow", workers=w, log=str(log), pause=0.05) for w in (0, 2)]
    until(lambda: sum(calls(log).values()) > 10)
    os.killpg(jobs[0].pid, signal.SIGSTOP)
    until(lambda: sum(calls(log).values()) > 40)
    os.killpg(jobs[1].pid, signal.SIGSTOP)
    os.killpg(jobs[0].pid, signal.SIGCONT)
    seen = sum(calls(log).values())
    until(lambda: sum(calls(log).values()) > seen + 5)
    time.sleep(3)
    os.killpg(jobs[1].pid, signal.SIGCONT)
    ends = [job.communicate(timeout=120) for job in jobs]
    assert [out for out, _ in ends] == [whole + "\n"] * 2, ends
    assert files(tmp_path / "flow") == files(tmp_path / "whole")
    check_statuses(videos, tmp_path / "flow")
    assert set(calls(log).values()) == {1}
    assert len(calls(log)) == 90


def test_when_the_parent_is_killed_its_workers_go_too(tmp_path: Path) -> None:
    videos, log = tmp_path / "videos", tmp_path / "log"
    rows = clips(videos, 4)
    job = start(videos, tmp_path / "flow", workers=2, log=str(log), bad={10: "hang", 30: "hang"})
    until(lambda: len(calls(log)) >= 2)
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: not alive(group=job.pid))
    job.communicate()
    assert extract(rows, store(tmp_path / "flow"), short_side=48).done == 4


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("SIGSEGV", "its worker process died of SIGSEGV"),
        ("SIGKILL", "its worker process died of SIGKILL"),
        ("exit", "its worker process ended with exit code 7"),
        ("hang", "took longer than 2 s"),
    ],
)
def test_a_clip_that_takes_its_worker_down_fails_alone(tmp_path: Path, how: str, reason: str) -> None:
    rows, log = clips(tmp_path / "videos", 4), tmp_path / "log"
    rows.insert(1, row(tmp_path / "videos", "bad.mp4"))
    write_clip(tmp_path / "videos" / "bad.mp4", 99)
    place = store(tmp_path / "flow", estimator=Fake({99: how}, log=str(log)))
    summary = extract(rows, place, short_side=48, workers=2, deadline=2.0)
    assert summary.failed == {"bad.mp4": reason}
    assert (summary.done, summary.new) == (4, 5)
    assert place.info("bad.mp4") == {"status": "failed", "reason": reason}
    assert not any(".writing" in name for name in files(tmp_path / "flow"))
    assert calls(log)["99"] == (2 if how == "SIGKILL" else 1)


def test_a_worker_killed_by_chance_costs_no_clip(tmp_path: Path) -> None:
    videos, log = tmp_path / "videos", tmp_path / "log"
    clips(videos, 3)
    job = start(videos, tmp_path / "flow", workers=1, log=str(log), pause=1.0)
    until(lambda: calls(log))
    os.kill(alive(parent=job.pid)[-1], signal.SIGKILL)  # the youngest child: the worker
    out, err = job.communicate()
    assert out.splitlines()[0] == "3 clips done (12 flows), 0 failed", err


def test_workers_that_cannot_start_stop_the_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Unknown(Fake):
        def __reduce__(self) -> object:
            return eval, ("1 / 0",)

    place = store(tmp_path / "flow", estimator=Unknown())
    with pytest.raises(ExtractionError, match="a worker process ended before it could start"):
        extract(clips(tmp_path / "videos", 2), place, short_side=48, workers=1)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_ctrl_c_ends_parent_and_workers_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    videos, log = tmp_path / "videos", tmp_path / "log"
    rows = clips(videos, 4)
    job = start(videos, tmp_path / "flow", workers=2, log=str(log), bad={20: "hang"})
    until(lambda: len(calls(log)) >= 4)
    os.killpg(job.pid, signal.SIGINT)
    _, err = job.communicate(timeout=60)
    until(lambda: not alive(group=job.pid))
    assert err.count("Traceback") == 1  # that of this test's script; the command has none
    assert not any(".writing" in name for name in files(tmp_path / "flow"))
    assert extract(rows, store(tmp_path / "flow"), short_side=48).done == 4


FULL = """
set -e
mount -t tmpfs -o size=600k none "$1"
shift
set +e
"$@"; echo "status $?"
df -k --output=avail flow | tail -1
find flow -name '.writing*'
mount -o remount,size=20m flow
"$@"; echo "status $?"
cp -r flow kept
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_disk_that_is_really_full(tmp_path: Path, workers: str) -> None:
    if subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("no user namespaces here, so no small disk")
    for i in range(20):
        write_clip(tmp_path / "videos" / f"{i:02d}.mp4", 10 + i, frames=20)
    (tmp_path / "flow").mkdir()
    extract_ = [sys.executable, "-m", "kdvideo", "extract", "videos", "flow", "--fps", "10", "--short-side", "96"]
    extract_ += ["--preset", "fast", "--backend", "eager", "--codec", "raw", "--workers", workers]
    command = ["unshare", "-Urm", "bash", "-c", FULL, "full", "flow", *extract_]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    first, second = done.stdout.split("status 3\n")
    assert first == ""
    assert "stopped: flow cannot be written: No space left on device. What is done is kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert ".writing" not in second
    assert "20 clips done (380 flows), 0 failed\nstatus 0" in second
    assert verify(tmp_path / "kept") == []
