"""Tests of networks on clips whose reader hangs or dies, and on processes of which one gets nowhere."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from torch.utils.data import Dataset

from examples.d3d.evaluate import gather
from kdvideo.data import ClipError

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]


class Numbers(Dataset[Any]):
    """Item 5 never returns, and holds the interpreter's lock, or kills its process."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, int]:
        if index == 5 and self.how == "hangs":
            ctypes.PyDLL(None).sleep(100)
        if index == 5 and self.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        return {"index": index}


@pytest.mark.reliability("B4", "B5", "B14")
@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_a_worker_that_ends_in_a_test_names_its_item(how: str) -> None:
    """Fails when `gather` has no deadline for its workers, or does not ask who was at work."""
    loading: dict[str, Any] = {"batch_size": 1, "num_workers": 1, "clip_deadline": 2.0}
    with pytest.raises(ClipError, match="item 5: the process that read it ended"):
        gather(Numbers(how), lambda batch: batch["index"].tolist(), Accelerator(cpu=True), desc="", **loading)


def stands(what: str) -> None:
    """Gather in a process that hangs in a batch, or for the others."""
    import examples.d3d.evaluate as module

    if what == "the others":
        module.gather_object = lambda rows: ctypes.PyDLL(None).sleep(100)
    dataset = Numbers("hangs" if what == "a batch" else "")
    gather(dataset, lambda batch: [0], Accelerator(cpu=True), desc="", step_deadline=2.0, batch_size=1)


@pytest.mark.reliability("D1")
@pytest.mark.parametrize("what", ["a batch", "the others"])
def test_a_test_that_gets_nowhere_ends(what: str) -> None:
    """Fails when `gather` has no watchdog, or has none while it waits for the other processes."""
    code = f"from tests.examples.test_loading import stands; stands({what!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=100)
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert " in gather" in done.stderr
