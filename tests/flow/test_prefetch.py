"""Batches moved to a device and completed there one ahead."""

import itertools

import pytest
import torch

from kdvideo import flow as kf

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


def batches(count: int):
    return ({"x": torch.full((2,), float(k)), "id": f"clip {k}"} for k in range(count))


def double(batch: dict) -> dict:
    return batch | {"twice": [2 * batch["x"]]}


def seen(device: str, count: int) -> list[tuple[float, float, str]]:
    ahead = kf.prefetch_to_device(batches(count), double, device=device)
    return [(batch["x"][0].item(), batch["twice"][0][0].item(), batch["id"]) for batch in ahead]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_batches_come_in_order_each_computed(device: str, count: int) -> None:
    assert seen(device, count) == [(k, 2 * k, f"clip {k}") for k in range(count)]


@pytest.mark.parametrize("device", DEVICES)
def test_errors_reach_the_caller_and_stopping_early_is_no_error(device: str) -> None:
    def fail(batch: dict) -> dict:
        if batch["id"] == "clip 3":
            raise ValueError(batch["id"])
        return batch

    assert len(list(itertools.islice(kf.prefetch_to_device(batches(9), fail, device=device), 2))) == 2
    with pytest.raises(ValueError, match="clip 3"):
        list(kf.prefetch_to_device(batches(9), fail, device=device))


@pytest.mark.gpu
@NO_GPU
def test_on_a_gpu_a_batch_is_whole_when_it_is_handed_over_and_stays_so() -> None:
    def slow(batch: dict) -> dict:
        torch.cuda._sleep(20_000_000)
        return batch | {"sum": batch["x"] * 2}

    large = ({"x": torch.full((1 << 22,), float(k)).pin_memory()} for k in range(6))
    for k, batch in enumerate(kf.prefetch_to_device(large, slow, device="cuda")):
        torch.cuda._sleep(40_000_000)  # the next batch is computed before this one is read
        total = batch["sum"].sum()
        del batch
        assert total.item() == 2 * k * (1 << 22)
