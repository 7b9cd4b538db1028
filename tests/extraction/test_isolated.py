"""Devices of the processes that work on clips: each has its own, and one that is replaced has the same again."""

from __future__ import annotations

import signal
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kdvideo.extraction import ExtractionError, flow_job, isolated
from kdvideo.extraction.job import Job, Outcome
from tests.extraction.fakes import row, store


class Child:
    """A child that says what its device is, and dies of the clip "bad"."""

    def __init__(self, job: Job) -> None:
        self.device, self.pool, self.process = job.device, self, SimpleNamespace(exitcode=-signal.SIGSEGV)

    def submit(self, _: object, clip: dict[str, object], deadline: float) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        if clip["clip"] == "bad":
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(Outcome("done", reason=self.device))
        return future

    def shutdown(self) -> None:
        pass


def test_a_child_in_place_of_a_dead_one_has_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when `Isolated` takes the next device for every new child."""
    monkeypatch.setattr(isolated, "_Child", Child)
    work = isolated.Isolated(flow_job.FlowJob(store=store(tmp_path), short_side=8), ("cuda:0", "cuda:1"), 0)
    other = work._take()
    assert work(row(tmp_path, "bad")).reason == "its worker process died of SIGSEGV"
    assert (other.device, work(row(tmp_path, "good")).reason) == ("cuda:0", "cuda:1")


def test_every_process_is_dealt_the_gpu_that_the_fewest_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when `deal` does not hold what it has dealt."""
    monkeypatch.setattr(isolated.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda k: SimpleNamespace(uuid=f"gpu{k}"))
    assert [isolated.deal() for _ in range(5)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ExtractionError, match="needs a GPU"):
        isolated.deal()
