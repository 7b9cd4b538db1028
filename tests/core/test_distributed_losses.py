"""Every loss on two gloo processes: the gradients of one process, or those of the relations within each half."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.core import _distributed_losses as ranks
from tests.core.test_distributed import run_ranks

Found = tuple[dict[tuple[str, str], dict[str, Tensor]], tuple[Tensor, Tensor]]
CASES = [(way, name) for way, (_, names) in ranks.WAYS.items() for name in names]
HALVES = slice(0, ranks.BATCH // 2), slice(ranks.BATCH // 2, ranks.BATCH)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    run_ranks("tests.core._distributed_losses", folder)
    return [torch.load(folder / f"found{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize(("way", "name"), CASES)
def test_gradients_equal_those_of_one_process(way: str, name: str, found: list[Found]) -> None:
    row = ranks.ROWS[name]
    halves = HALVES if isinstance(row.loss, ranks.RELATIONS) else (slice(0, ranks.BATCH),)
    expected: dict[str, Tensor] = {}
    for part in halves:
        module = ranks.Together(row)
        for key, gradient in ranks.gradients(module, module, part).items():
            expected[key] = expected.get(key, 0) + gradient / len(halves)
    assert any(key.startswith("student") and one.any() for key, one in expected.items())
    for rank in (0, 1):
        for key, gradient in expected.items():
            torch.testing.assert_close(found[rank][0][way, name][key], gradient, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ranks.ROWS)
def test_relations_and_only_they_depend_on_the_processes(name: str) -> None:
    row = ranks.ROWS[name]
    if isinstance(row.loss, ranks.kd.SemCKD):
        pytest.skip("its batch size is part of its network")
    whole, first, second = (
        ranks.gradients(module := ranks.Together(row), module, part) for part in (slice(0, ranks.BATCH), *HALVES)
    )
    same = all(torch.allclose(whole[key], (first[key] + second[key]) / 2, rtol=1e-6, atol=1e-9) for key in whole)
    assert same != isinstance(row.loss, ranks.RELATIONS)


def test_crd_remembers_what_all_processes_saw(found: list[Found]) -> None:
    expected = ranks.memories(slice(0, ranks.BATCH), None)
    for rank in (0, 1):
        for memory, wanted in zip(found[rank][1], expected, strict=True):
            torch.testing.assert_close(memory, wanted)
