"""Trainings that are killed, stopped by a scheduler, spread over other numbers of processes, or lose one of them."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.examples import jobs

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing stopped."""
    folder: Path = tmp_path_factory.mktemp("jobs") / "whole"
    assert jobs.finish(jobs.start(folder)) == [0]
    return folder


def same(folder: Path, whole: Path) -> bool:
    found, wanted = (torch.load(one / "end.pt") for one in (folder, whole))
    return all(found[name].equal(value) for name, value in wanted.items()) and jobs.logged(folder) == jobs.logged(whole)


def killed_at_random(folder: Path, whole: Path, kills: int, draw: random.Random) -> None:
    for _ in range(kills):
        before = len(jobs.logged(folder))
        (process,) = jobs.start(folder, num_workers=draw.choice([0, 2]))
        if before < jobs.STEPS - 1:
            jobs.until(partial(jobs.has_more_than, folder, before))
        time.sleep(draw.random() * 0.15)
        process.kill()
        process.join()
    assert jobs.finish(jobs.start(folder, num_workers=draw.choice([0, 2]))) == [0]
    assert same(folder, whole)


@pytest.mark.reliability("A1", "A2", "A3", "A6", "A14")
def test_killed_again_and_again_it_ends_with_the_same_bits(whole: Path, tmp_path: Path, record_property: Any) -> None:
    """Fails when a step's seed leaves out python's or numpy's generator, or the average is not in the checkpoint."""
    killed_at_random(tmp_path / "job", whole, 4, random.Random(0))
    record_property("trials", 4)


@pytest.mark.slow
@pytest.mark.reliability("A1", "A2", "A3", "A6", "A14")
def test_twenty_trainings_killed_at_random_end_with_the_same_bits(
    whole: Path, tmp_path: Path, record_property: Any
) -> None:
    """Fails when the optimizer's state is not loaded, or the log keeps a step that is repeated."""
    for number in range(20):
        killed_at_random(tmp_path / str(number), whole, 1, random.Random(number))
    record_property("trials", 20)


@pytest.mark.reliability("A4", "A12")
def test_a_scheduler_stops_it_and_any_number_of_processes_goes_on(tmp_path: Path, record_property: Any) -> None:
    """Fails when the loss of the first process alone is logged, or a share's weight is left out of the gradient."""
    plain = {"random_layers": False}
    assert jobs.finish(jobs.start(tmp_path / "whole", **plain)) == [0]
    folder = tmp_path / "job"
    for world, stop in ((1, 5), (2, 13), (1, jobs.STEPS)):
        processes = jobs.start(folder, world, num_workers=2, **plain)
        if stop < jobs.STEPS:
            jobs.until(partial(jobs.has_more_than, folder, stop - 1))
            os.kill(processes[-1].pid, signal.SIGTERM)  # one is told, and all stop together
        codes = jobs.finish(processes)
        assert codes == ([0] if stop == jobs.STEPS else [143] * world)
    found, wanted = ([row["action"] for row in jobs.logged(one)] for one in (folder, tmp_path / "whole"))
    worst = max(abs(one / other - 1) for one, other in zip(found, wanted, strict=True))
    record_property("worst", f"{worst:.1e}")
    assert worst < 1e-6


@pytest.mark.reliability("D1")
@pytest.mark.parametrize("trouble", ["killed", "raises", "hangs"])
def test_a_process_that_is_lost_ends_the_others(tmp_path: Path, trouble: str, record_property: Any) -> None:
    """Fails when no watchdog ends the process that waits for one that hangs."""
    begun = time.monotonic()
    processes = jobs.start(tmp_path / "job", 2, trouble=trouble, step_deadline=4.0)
    codes = jobs.finish(processes, 60)
    record_property("worst", f"{time.monotonic() - begun:.0f} s")
    assert not {None, 0} & set(codes)
    if trouble == "hangs":
        assert "Timeout" in (tmp_path / "job" / "rank0.txt").read_text()  # where every thread stood
    if trouble == "raises":
        assert "the disk is gone" in (tmp_path / "job" / "rank1.txt").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.reliability("D2")
def test_a_launcher_that_starts_it_again_gets_the_same_bits(tmp_path: Path) -> None:
    """Fails when a step's seed counts from where the process began."""
    assert jobs.finish(jobs.start(tmp_path / "whole", 2)) == [0, 0]
    folder = tmp_path / "job"
    folder.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "--max-restarts", "2", "-m", "tests.examples.jobs", str(folder)]
    # A store that the attempts share holds addresses of the one before, and torch does not tell them apart.
    surroundings = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    options: dict[str, Any] = {"env": surroundings, "capture_output": True, "text": True, "timeout": 280}
    done = subprocess.run(command, cwd=ROOT, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("failed (exitcode: -9)") == 2
    assert same(folder, tmp_path / "whole")


@pytest.mark.reliability("D6")
def test_the_surroundings_do_not_matter(whole: Path, tmp_path: Path) -> None:
    """Fails when `step_seed` takes the `hash` of a text, which is another one in every process."""
    (tmp_path / "home").mkdir(mode=0o500)
    around = {"LC_ALL": "tr_TR.UTF-8", "LANG": "C", "TZ": "Asia/Kathmandu", "HOME": str(tmp_path / "home")}
    folder = tmp_path / "a folder, with ünusual 'signs' [1]"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.examples.jobs", str(folder)]
    surroundings = os.environ | around | {"PYTHONHASHSEED": "1"}
    subprocess.run(command, cwd=ROOT, env=surroundings, umask=0o077, timeout=200, check=True)
    assert same(folder, whole)
