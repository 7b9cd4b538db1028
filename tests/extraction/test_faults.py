"""Extraction that is killed, stopped, raced, crashed and starved of disk, in processes and on a real Dask cluster."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kdvideo.extraction import ExtractionError, clips_of, extract, verify
from tests.extraction.fakes import Fake, clips, files, row, store, write_clip

pytestmark = pytest.mark.faults

Record = Callable[[str, object], None]
ROOT = Path(__file__).parents[2]


def start(videos: Path, out: Path, **options: object) -> subprocess.Popen[str]:
    """An extraction with a process group of its own."""
    command = [sys.executable, "-m", "tests.extraction.run_job", str(videos), str(out), json.dumps(options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, start_new_session=True, **pipes)


def finish(job: subprocess.Popen[str]) -> str:
    """What an extraction printed, which ended well."""
    out, err = job.communicate(timeout=250)
    assert job.returncode == 0, err
    return out


def calls(log: Path) -> Counter[str]:
    return Counter(log.read_text().split() if log.exists() else [])


def until(condition: object, seconds: float = 200) -> None:
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


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.reliability("B12")
def test_killed_at_ten_instants_it_ends_with_the_same_bytes(tmp_path: Path, record_property: Record) -> None:
    """Fails when a file is written in place, or what a killed writer left is not removed."""
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
    record_property("trials", 10)


@pytest.mark.slow
@pytest.mark.reliability("B13")
def test_two_at_once_make_the_same_bytes_though_one_stands_still(tmp_path: Path, record_property: Record) -> None:
    """Fails when `FlowStore.writer` writes in place, or `remove_abandoned` takes the files of living writers."""
    videos, log = tmp_path / "videos", tmp_path / "log"
    many(videos, 100)
    whole = str(extract(clips_of(videos), store(tmp_path / "whole"), short_side=48))
    jobs = [start(videos, tmp_path / "flow", workers=w, log=str(log), pause=0.05) for w in (0, 2)]
    until(lambda: sum(calls(log).values()) > 10)
    os.killpg(jobs[0].pid, signal.SIGSTOP)
    until(lambda: sum(calls(log).values()) > 40)
    os.killpg(jobs[0].pid, signal.SIGCONT)
    assert [finish(job) for job in jobs] == [whole + "\n"] * 2
    assert files(tmp_path / "flow") == files(tmp_path / "whole")
    check_statuses(videos, tmp_path / "flow")
    assert max(calls(log).values()) <= 2
    record_property("worst", f"{sum(calls(log).values())} computed of 90")


def test_shards_at_once_do_each_clip_once(tmp_path: Path) -> None:
    """Fails when the share of a shard is taken of what is left, and not of the list."""
    videos, log = tmp_path / "videos", tmp_path / "log"
    many(videos, 20)
    extract(clips_of(videos), store(tmp_path / "whole"), short_side=48)
    shards = [{"shard": (i, 2), "workers": 0, "log": str(log)} for i in (1, 2)]
    jobs = [start(videos, tmp_path / "flow", **shard) for shard in shards]
    counts = [re.findall(r"\d+ clips done|\d+ failed", finish(job)) for job in jobs]
    assert counts == [["8 clips done", "2 failed"], ["10 clips done", "0 failed"]]
    assert files(tmp_path / "flow") == files(tmp_path / "whole")
    assert set(calls(log).values()) == {1}


def test_when_the_parent_is_killed_its_workers_go_too(tmp_path: Path) -> None:
    """Fails when `start_worker` does not call `die_with_parent`."""
    videos, log = tmp_path / "videos", tmp_path / "log"
    rows = clips(videos, 4)
    job = start(videos, tmp_path / "flow", workers=2, log=str(log), bad={10: "hang", 30: "native hang"})
    until(lambda: len(calls(log)) >= 2)
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: not alive(group=job.pid))
    job.communicate()
    assert extract(rows, store(tmp_path / "flow"), short_side=48).done == 4


HARMS = {
    "SIGSEGV": "its worker process died of SIGSEGV",
    "SIGKILL": "its worker process died of SIGKILL",
    "exit": "its worker process ended with exit code 7",
    "hang": "took longer than 5 s",
    "native hang": "took longer than 5 s",
}


@pytest.mark.reliability("B4")
@pytest.mark.reliability("B5")
@pytest.mark.parametrize("engine", [{"workers": 2}, pytest.param({"scheduler": 2}, marks=pytest.mark.slow)], ids=str)
def test_clips_that_take_their_worker_down_fail_alone(
    tmp_path: Path, engine: dict[str, int], record_property: Record
) -> None:
    """Fails when `_run` sets no alarm, or `Isolated` gives a killed clip no second chance, or any other two."""
    rows, log = clips(tmp_path / "videos", 4), tmp_path / "log"
    names = {f"{how}.mp4": 200 + i for i, how in enumerate(HARMS)}
    for name, first in names.items():
        write_clip(tmp_path / "videos" / name, first)
        rows.insert(1, row(tmp_path / "videos", name))
    place = store(tmp_path / "flow", estimator=Fake(dict(zip(names.values(), HARMS, strict=True)), log=str(log)))
    summary = extract(rows, place, short_side=48, deadline=5.0, **engine)
    assert summary.failed == {f"{how}.mp4": reason for how, reason in HARMS.items()}
    assert (summary.done, summary.new) == (4, 9)
    info = place.info("SIGKILL.mp4")
    assert info is not None
    assert (info["status"], info["reason"]) == ("failed", HARMS["SIGKILL"])
    assert not any(".writing" in name for name in files(tmp_path / "flow"))
    assert {str(first): calls(log)[str(first)] for first in names.values()} == {
        str(first): 2 if "SIGKILL" in name else 1 for name, first in names.items()
    }
    record_property("trials", len(HARMS))


def test_a_worker_killed_by_chance_costs_no_clip(tmp_path: Path) -> None:
    """Fails when `Isolated` gives a killed clip no second chance."""
    videos, log = tmp_path / "videos", tmp_path / "log"
    clips(videos, 3)
    job = start(videos, tmp_path / "flow", workers=1, log=str(log), pause=1.0)
    until(lambda: calls(log))
    os.kill(alive(parent=job.pid)[-1], signal.SIGKILL)  # the youngest child: the worker
    assert finish(job).splitlines()[0] == "3 clips done (12 flows), 0 failed"


def test_workers_that_cannot_start_stop_the_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Fails when `_Child` hands on the error of its pool."""

    class Unknown(Fake):
        def __reduce__(self) -> object:
            return eval, ("1 / 0",)

    place = store(tmp_path / "flow", estimator=Unknown())
    with pytest.raises(ExtractionError, match="a worker process ended before it could start"):
        extract(clips(tmp_path / "videos", 2), place, short_side=48, workers=1)
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.parametrize("early", [False, True])
def test_ctrl_c_ends_parent_and_workers_and_leaves_nothing_half_done(tmp_path: Path, early: bool) -> None:
    """Fails when `processes` does not stop its workers, or a worker that starts gets the SIGINT of its group."""
    videos, log = tmp_path / "videos", tmp_path / "log"
    rows = clips(videos, 4)
    job = start(videos, tmp_path / "flow", workers=2, log=str(log), bad={20: "hang"})
    until(lambda: len(alive(parent=job.pid)) >= 2 if early else len(calls(log)) >= 4)
    time.sleep(early)  # a worker imports by then
    os.killpg(job.pid, signal.SIGINT)
    _, err = job.communicate(timeout=60)
    until(lambda: not alive(group=job.pid))
    assert err.count("KeyboardInterrupt") == 1, err  # that of this test's script; the command has none
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


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["--workers=0", "--workers=2", "--local-cluster=2"])
def test_a_disk_that_is_really_full(tmp_path: Path, engine: str) -> None:
    """Fails when a worker takes the error of the disk for one of the clip."""
    if subprocess.run(["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("no user namespaces here, so no small disk")
    for i in range(20):
        write_clip(tmp_path / "videos" / f"{i:02d}.mp4", 10 + i, frames=20)
    (tmp_path / "flow").mkdir()
    extract_ = [sys.executable, "-m", "kdvideo", "extract", "videos", "flow", "--fps", "10", "--short-side", "96"]
    extract_ += ["--preset", "fast", "--backend", "eager", "--codec", "raw", engine]
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
