"""Extraction on Dask: a scheduler and two nodes of one worker each, every one of them a process that is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdvideo.extraction import ExtractionError, cluster, extract, job
from kdvideo.extraction.isolated import Isolated
from tests.extraction.fakes import Fake, clips, files, row, store
from tests.extraction.test_faults import ROOT, alive, calls, finish, start, until

ClosedClientError = pytest.importorskip("distributed.client").ClosedClientError
pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def dask(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command of Dask in a process group of its own, which is killed at the end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dask", *arguments]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def scheduler(port: int) -> tuple[str, ...]:
    return ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")


def worker(port: int, folder: Path) -> tuple[str, ...]:
    address = f"tcp://127.0.0.1:{port}"
    return ("worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder))


def test_killed_anywhere_the_same_command_continues_with_the_same_bytes(tmp_path: Path) -> None:
    """Fails when children do not end with their Dask worker, or a lost scheduler is no `ExtractionError`."""
    videos, out, log, port = tmp_path / "videos", tmp_path / "flow", tmp_path / "log", free_port()
    clips(videos, 30)
    whole = extract(clips_rows(videos), store(tmp_path / "whole"), short_side=48)
    options = {"scheduler": f"tcp://127.0.0.1:{port}", "log": str(log), "pause": 0.3}
    with dask(*worker(port, tmp_path / "1")) as first, dask(*worker(port, tmp_path / "2")) as second:
        with dask(*scheduler(port)) as head:
            client = start(videos, out, **options)
            until(lambda: sum(calls(log).values()) >= 4, 240)
            os.killpg(first.pid, signal.SIGKILL)  # a node
            until(lambda: sum(calls(log).values()) >= 8, 240)
            os.kill(client.pid, signal.SIGKILL)
            client.communicate()
            client, seen = start(videos, out, **options), sum(calls(log).values())
            until(lambda: sum(calls(log).values()) >= seen + 4, 240)
            os.kill(head.pid, signal.SIGKILL)
            _, error = client.communicate(timeout=240)
            assert client.returncode == 1
            assert "ExtractionError: the Dask scheduler is gone" in error, error
            assert not alive(group=first.pid)
        with dask(*scheduler(port)), dask(*worker(port, tmp_path / "3")):
            assert finish(start(videos, out, **options)) == f"{whole}\n"
        assert files(out) == files(tmp_path / "whole")
        os.kill(second.pid, signal.SIGKILL)
        until(lambda: not alive(group=second.pid))


def clips_rows(videos: Path) -> list[dict[str, object]]:
    names = sorted(path.relative_to(videos).as_posix() for path in videos.rglob("*.mp4"))
    return [row(videos, name) for name in names]


def test_a_worker_that_dies_again_and_again_costs_the_clips_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when `KilledWorker` is not counted as a failure of the clip."""
    monkeypatch.setattr(cluster, "_make", deadly)
    rows = clips(tmp_path / "videos", 2)
    summary = extract(rows, store(tmp_path / "flow"), short_side=48, scheduler=1)
    assert summary.failed == {"b/clip001.mp4": "4 Dask workers died while it was theirs"}
    assert summary.done == 1


def deadly(run: str, job_: job.Job, devices: object, deadline: float, clip: job.ClipRow) -> job.Outcome:
    if "1.mp4" in clip["clip"]:
        time.sleep(1)  # the other clip is done by then
        os.kill(os.getpid(), signal.SIGKILL)
    return job_.run(clip)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_client_that_is_stopped_leaves_no_process_behind(tmp_path: Path, how: signal.Signals) -> None:
    """Fails when the children of Dask's workers do not end with them."""
    videos, log = tmp_path / "videos", tmp_path / "log"
    clips(videos, 4)
    client = start(videos, tmp_path / "flow", scheduler=2, log=str(log), bad={20: "native hang"})
    until(lambda: len(calls(log)) >= 4, 240)
    (os.killpg if how == signal.SIGINT else os.kill)(client.pid, how)
    client.communicate(timeout=120)
    until(lambda: not alive(group=client.pid))


def test_what_stops_a_job_stops_it_on_dask(tmp_path: Path) -> None:
    """Fails when `_run` hands on an error of the disk or device as one of the clip."""
    clips(tmp_path / "videos", 4)
    with pytest.raises(ExtractionError, match="cpu is out of memory"):
        extract(
            clips_rows(tmp_path / "videos"),
            store(tmp_path / "flow", estimator=Fake({20: "memory"})),
            short_side=48,
            scheduler=1,
        )


def test_no_scheduler(tmp_path: Path) -> None:
    """Fails when `_client` hands on the error of a connection that nobody takes."""
    import dask.config

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ExtractionError, match=r"no Dask scheduler at tcp://127.0.0.1:1"),
    ):
        extract(clips(tmp_path, 1), store(tmp_path / "flow"), short_side=48, scheduler="tcp://127.0.0.1:1")


@pytest.mark.parametrize("call", ["submit", "nthreads"])
def test_every_error_of_a_lost_connection_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Fails when `submit` or `width` hands on what Dask raises."""

    def closed(*_: object, **__: object) -> None:
        raise ClosedClientError("closed")

    client = SimpleNamespace(get_executor=lambda **_: client, submit=lambda *_: None, nthreads=dict)
    setattr(client, call, closed)
    monkeypatch.setattr(cluster, "_client", lambda _: nullcontext(client))
    with pytest.raises(ExtractionError, match="the Dask scheduler is gone"):
        extract(clips(tmp_path, 1), store(tmp_path / "flow"), short_side=48, scheduler="tcp://127.0.0.1:1")


def test_a_dask_worker_keeps_few_of_the_runs_of_killed_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when `_make` drops no run of other clients, or `_forget` none."""
    monkeypatch.setattr(Isolated, "__call__", lambda self, row: job.Outcome("done"))
    for run in range(6):
        cluster._make(str(run), None, ("cpu",), 0.0, {})  # type: ignore[arg-type]
    assert list(cluster._isolated) == ["2", "3", "4", "5"]
    for run in list(cluster._isolated):
        cluster._forget(run)
    assert not cluster._isolated
