"""Two gloo processes give the gradients of one process on the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.core import _distributed

ROOT = Path(__file__).resolve().parents[2]


def run_ranks(module: str, folder: Path) -> None:
    """Run a module of tests on two processes until both end."""
    command = [sys.executable, "-m", module]
    ranks = [
        subprocess.Popen([*command, str(rank), str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    try:
        errors = [rank.communicate(timeout=200)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(errors)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks("tests.core._distributed", folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return torch.load(folder / "gradients.pt")


@pytest.mark.reliability("C8")
@pytest.mark.parametrize("way", _distributed.WAYS)
def test_gradients_equal_those_of_one_process(way: str, found: dict[str, dict[str, torch.Tensor]]) -> None:
    """Fails when the features of an `Output` are hidden from DDP."""
    student, teacher = _distributed.build()
    expected = _distributed.gradients(student, student, teacher, slice(0, 4))
    assert found[way].keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[way][name], gradient, rtol=1e-5, atol=1e-7, msg=f"{way}: {name}")


def test_the_moving_average_is_that_of_one_process(folder: Path) -> None:
    averages = torch.load(folder / "averages.pt")
    expected = averages.pop("one process")
    assert list(averages) == ["ddp", "fsdp2", "fsdp2, sharded alike"]
    for way, weights in averages.items():
        assert weights.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(weights[name], value, msg=f"{way}: {name}")
