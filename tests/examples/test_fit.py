"""The training loop on a linear model: accumulation, resuming, and one Accelerator for several trainings."""

import ctypes
import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import Dataset

from examples.d3d import training as loop
from examples.d3d.batches import Training
from examples.d3d.config import Optimizer
from examples.d3d.shares import Share
from examples.d3d.training import fit
from kdvideo.data import ClipError
from kdvideo.training import Checkpoints, StepLog, StepSampler

PLAIN = Optimizer(steps=5, batch_size=4, reference_batch=4, lr=0.1, decay_at=(), momentum=0.9, weight_decay=0.0)


class Points(Dataset[Any]):
    """Points that depend on the epoch and the index."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, at: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, index = at
        x = torch.arange(3.0) * 0.1 + index * 0.3 - epoch * 0.05
        return {"x": x, "y": x.sum()[None]}


def losses(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    noise = 0.01 * torch.randn(len(batch["x"]), 1)  # a function of seed and step, as dropout is
    return {"action": (model(batch["x"]) - batch["y"] + noise).square().mean()}


def training(folder: Path, **changes: Any) -> Training:
    torch.manual_seed(1)
    one = Training("points", folder, nn.Linear(3, 1), losses, Points(), PLAIN, 0, checkpointing_steps=2)
    return dataclasses.replace(one, **changes)


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def without_noise(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {"action": (model(batch["x"]) - batch["y"]).square().mean()}


@pytest.mark.reliability("C8")
def test_accumulated_parts_are_one_batch(tmp_path: Path, accelerator: Accelerator) -> None:
    """Fails when `fit` does not tell the accelerator of the parts; with SGD, since AdamW hides a factor."""
    found = []
    for parts in (1, 2, 4):
        one = training(tmp_path / str(parts), accumulate=parts, losses=without_noise)
        found.append(weights(fit(one, accelerator)))
        assert [row["step"] for row in StepLog.read(one.folder / "log.jsonl")] == list(range(5))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


@pytest.mark.reliability("A4", "D3")
@pytest.mark.parametrize(("batch", "processes"), [(12, 8), (5, 2), (3, 4), (4, 2)])
def test_any_number_of_processes_trains_on_the_same_batches(batch: int, processes: int) -> None:
    """Fails when `Share` deals in blocks, or its weight leaves the number of processes out."""
    whole = StepSampler(20, batch_size=batch, steps=3, seed=0)
    shares = [Share(whole, rank, processes) for rank in range(processes)]
    value = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
    for number, clips in enumerate(whole):
        mine = [list(share)[number] for share in shares]
        assert sorted(clips) == sorted(
            clip for share, own in zip(shares, mine, strict=True) if share.weight for clip in own
        )
        assert [own[0] for own in mine][:batch] == clips[:processes]  # dealt in turn, not in blocks
        # Distributed training takes the mean over the processes of each one's mean.
        means = [torch.stack([value[clip] for clip in own]).mean() for own in mine]
        found = sum(share.weight * mean for share, mean in zip(shares, means, strict=True)) / processes
        torch.testing.assert_close(found, torch.stack([value[clip] for clip in clips]).mean())
    if batch % processes == 0:
        assert {share.weight for share in shares} == {1.0}


def test_the_weight_of_a_share_is_in_the_gradient(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = dataclasses.replace(PLAIN, steps=1)
    start = weights(training(tmp_path / "start").model)
    whole = weights(fit(training(tmp_path / "whole", optimizer=once), accelerator))
    monkeypatch.setattr(Share, "weight", 0.5)
    half = weights(fit(training(tmp_path / "half", optimizer=once), accelerator))
    torch.testing.assert_close(2 * (half - start), whole - start)


def test_a_training_before_moves_no_part_of_the_next(tmp_path: Path, accelerator: Accelerator) -> None:
    alone = fit(training(tmp_path / "alone", accumulate=2), accelerator)
    odd = dataclasses.replace(PLAIN, steps=3)
    fit(training(tmp_path / "before", optimizer=odd), accelerator)
    after = fit(training(tmp_path / "after", accumulate=2), accelerator)
    assert weights(after).equal(weights(alone))


def stopped_at(step: int) -> Callable[..., bool]:
    asked = iter(range(1, 100))
    return lambda *_: next(asked) == step


@pytest.mark.reliability("A5")
@pytest.mark.parametrize(("stop", "parts", "average"), [(1, 1, 0.0), (3, 1, 0.0), (3, 2, 0.0), (3, 1, 0.9)])
def test_a_stopped_training_ends_as_one_that_was_not(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, stop: int, parts: int, average: float
) -> None:
    """Fails when a step's seed counts from where the process began, or the average is not loaded."""
    optimizer = dataclasses.replace(PLAIN, average=average)
    whole = fit(training(tmp_path / "whole", accumulate=parts, optimizer=optimizer), accelerator)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "any_process", stopped_at(stop))
        with pytest.raises(SystemExit, match="143"):
            fit(training(tmp_path / "stopped", accumulate=parts, optimizer=optimizer), accelerator)
    assert len(StepLog.read(tmp_path / "stopped" / "log.jsonl")) == stop
    torch.rand(7)  # no state of a generator may matter
    again = fit(training(tmp_path / "stopped", accumulate=parts, optimizer=optimizer), accelerator)
    assert weights(again).equal(weights(whole))
    first, second = (StepLog.read(tmp_path / name / "log.jsonl") for name in ("whole", "stopped"))
    assert first == second


def test_a_training_that_broke_between_checkpoints_repeats_its_steps(tmp_path: Path, accelerator: Accelerator) -> None:
    whole = fit(training(tmp_path / "whole"), accelerator)
    count = iter(range(100))

    def breaking(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if next(count) == 3:
            raise RuntimeError("power cut")
        return losses(model, batch)

    with pytest.raises(RuntimeError, match="power cut"):
        fit(training(tmp_path / "broken", losses=breaking), accelerator)
    assert len(StepLog.read(tmp_path / "broken" / "log.jsonl")) == 3  # one more than there is a checkpoint of
    again = fit(training(tmp_path / "broken"), accelerator)
    assert weights(again).equal(weights(whole))
    first, second = (StepLog.read(tmp_path / name / "log.jsonl") for name in ("whole", "broken"))
    assert first == second


def test_a_loss_that_is_not_finite_ends_it(tmp_path: Path, accelerator: Accelerator) -> None:
    nan = lambda model, batch: {"action": model(batch["x"]).sum() * float("nan")}  # noqa: E731
    with pytest.raises(FloatingPointError, match=r"losses must be finite, got \{'action': nan\} at step 0"):
        fit(training(tmp_path, losses=nan), accelerator)
    assert (tmp_path / "log.jsonl").read_text() == ""


def test_the_sum_of_the_terms_is_minimized_at_the_schedule_s_rate(tmp_path: Path, accelerator: Accelerator) -> None:
    schedule = dataclasses.replace(PLAIN, steps=4, momentum=0.0, decay_at=(0.5,))
    one = training(
        tmp_path,
        optimizer=schedule,
        losses=lambda model, batch: {"a": model.weight.sum(), "b": 2 * model.weight.sum()},
    )
    before = one.model.weight.detach().clone()
    after = fit(one, accelerator).weight
    torch.testing.assert_close(before - after, torch.full((1, 3), 3 * (0.1 + 0.1 + 0.01 + 0.01)))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(row["b"] == pytest.approx(2 * row["a"]) for row in rows)


def test_gradients_are_clipped_after_all_parts(tmp_path: Path, accelerator: Accelerator) -> None:
    schedule = dataclasses.replace(PLAIN, steps=1, momentum=0.0, clip_norm=1e-3)
    for parts in (1, 2):
        one = training(tmp_path / str(parts), optimizer=schedule, losses=without_noise, accumulate=parts)
        before = weights(one.model).clone()
        torch.testing.assert_close((weights(fit(one, accelerator)) - before).norm(), torch.tensor(0.1 * 1e-3))


def test_the_average_over_the_steps_is_the_trained_network(tmp_path: Path, accelerator: Accelerator) -> None:
    seen = []

    def watched(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        seen.append(weights(model).clone())
        return without_noise(model, batch)

    schedule = dataclasses.replace(PLAIN, steps=3)
    third = weights(fit(training(tmp_path / "last", optimizer=schedule, losses=watched), accelerator))
    averaged = dataclasses.replace(schedule, average=0.19)
    found = weights(fit(training(tmp_path / "mean", optimizer=averaged, losses=without_noise), accelerator))
    first, second = seen[1:]
    mean = 2 / 11 * first + 9 / 11 * second  # the decay rises to its value
    mean = 0.19 * mean + 0.81 * third
    torch.testing.assert_close(found, mean)


class Moving(nn.Module):
    """A 3-D convolution and a classifier: what has channels to be put last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv3d(3, 8, 3), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.head(self.conv(x).relu().mean((2, 3, 4)))
        return y


class Clips(Dataset[Any]):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, at: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, index = at
        generator = torch.Generator().manual_seed(8 * epoch + index)
        return {"x": torch.randn(3, 4, 6, 6, generator=generator), "y": torch.full((1,), index / 4)}


@pytest.mark.parametrize("change", [{"channels_last": True}, {"compile": True}])
def test_the_layout_and_the_compiler_change_rounding_alone(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, change: dict[str, bool]
) -> None:
    compiled = torch.compile
    calls = []

    def eager(function: Any, **_: Any) -> Any:
        calls.append(function)
        return compiled(function, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", eager)
    found = []
    for name, changes in {"plain": {}, "changed": change}.items():
        torch.manual_seed(1)
        model, folder = Moving(), tmp_path / name
        one = training(folder, model=model, losses=without_noise, dataset=Clips(), **changes)
        last = change.get("channels_last", False) and name == "changed"
        trained = fit(one, accelerator)
        assert trained.conv.weight.is_contiguous(memory_format=torch.channels_last_3d) is last
        assert set(trained.state_dict()) == set(Moving().state_dict())
        found.append([row["action"] for row in StepLog.read(folder / "log.jsonl")])
    assert bool(calls) is change.get("compile", False)
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[0][0] > found[0][-1]


def spoiled(part: int, value: float = float("nan"), *, gradient: bool) -> Callable[..., dict[str, torch.Tensor]]:
    """Losses of which one part, counted from 0, is not finite, or has a gradient that is not while its value is."""
    count = iter(range(100))

    def spoil(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        loss = without_noise(model, batch)["action"]
        if next(count) == part:
            zero = (next(model.parameters()).sum() * 0).abs()
            loss = loss + (zero.sqrt() if gradient else zero + value)  # the slope of the root at 0 is infinite
        return {"action": loss}

    return spoil


@pytest.mark.faults
@pytest.mark.reliability("C9")
@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize(("part", "parts"), [(4, 1), (1, 1), (2, 2), (3, 2)])
def test_what_is_not_finite_is_neither_taken_nor_saved(
    tmp_path: Path, accelerator: Accelerator, part: int, parts: int, gradient: bool
) -> None:
    """Fails when the gradient, or any part but the last, is not looked at before the step."""
    one = training(tmp_path, losses=spoiled(part, gradient=gradient), accumulate=parts)
    with pytest.raises(FloatingPointError, match=rf"must be finite.* at step {part // parts}"):
        fit(one, accelerator)
    assert all(torch.isfinite(value).all() for value in one.model.state_dict().values())
    found = fit(training(tmp_path, losses=without_noise, accumulate=parts), accelerator)
    whole = fit(training(tmp_path / "whole", losses=without_noise, accumulate=parts), accelerator)
    assert weights(found).equal(weights(whole))


@pytest.mark.faults
@pytest.mark.reliability("C9")
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_step_that_is_left_out_leaves_no_trace(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch, average: float
) -> None:
    """Fails when buffers are not put back, or the optimizer or the average sees the step."""
    optimizer = dataclasses.replace(PLAIN, average=average, name="adamw", steps=4)
    judge = loop.FiniteSteps.judge

    def leave_out_1(self: Any, step: int, values: dict[str, float], clips: list[Any]) -> bool:
        return judge(self, step, {"x": float("nan")} if step == 1 else values, clips)

    def trained(name: str, losses_: Callable[..., Any]) -> torch.Tensor:
        torch.manual_seed(1)
        model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
        one = training(tmp_path / name, model=model, losses=losses_, optimizer=optimizer, skip=True)
        found = fit(one, accelerator)
        assert model[0].num_batches_tracked == 3
        return weights(found)

    skipping = [trained("spoiled", spoiled(1, gradient=False))]
    monkeypatch.setattr(loop.FiniteSteps, "judge", leave_out_1)  # the same step, for another reason
    skipping.append(trained("left out", without_noise))
    assert skipping[0].equal(skipping[1])
    assert StepLog.read(tmp_path / "spoiled" / "log.jsonl")[1] == {"step": 1, "skipped": 1}
    assert torch.isfinite(skipping[0]).all()


@pytest.mark.faults
@pytest.mark.reliability("C9")
def test_too_many_left_out_in_a_row_end_it(tmp_path: Path, accelerator: Accelerator) -> None:
    """Fails when `FiniteSteps.judge` leaves out any number in a row."""
    nan = lambda model, batch: {"action": model(batch["x"]).sum() * float("nan")}  # noqa: E731
    many = dataclasses.replace(PLAIN, steps=20)
    with pytest.raises(FloatingPointError, match="at step 10"):
        fit(training(tmp_path, losses=nan, optimizer=many, skip=True), accelerator)


class Hanging(Points):
    """Item 5 never returns, and holds the interpreter's lock, or kills its process."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __getitem__(self, at: tuple[int, int]) -> dict[str, torch.Tensor]:
        if at[1] == 5:
            if self.how == "hangs":
                ctypes.PyDLL(None).sleep(100)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(at)


@pytest.mark.faults
@pytest.mark.reliability("B4", "B5", "B14")
@pytest.mark.parametrize("how", ["hangs", "dies"])
def test_a_worker_that_ends_names_its_item_and_what_was_trained_is_saved(
    tmp_path: Path, accelerator: Accelerator, how: str
) -> None:
    """Fails when nothing ends a worker past its deadline, or nobody remembers what it was on."""
    optimizer = dataclasses.replace(PLAIN, batch_size=1, steps=8)
    one = training(tmp_path, dataset=Hanging(how), optimizer=optimizer, num_workers=1, clip_deadline=2.0)
    one = dataclasses.replace(one, checkpointing_steps=100)
    order = [index for batch in StepSampler(8, batch_size=1, steps=8, seed=0) for _, index in batch]
    with pytest.raises(ClipError, match="item 5: the process that read it ended"):
        fit(one, accelerator)
    saved = Checkpoints(tmp_path / "checkpoints").load()
    assert (saved[0] if saved else 0) == len(StepLog.read(tmp_path / "log.jsonl")) <= order.index(5)


@pytest.mark.faults
@pytest.mark.reliability("D5")
def test_want_of_memory_says_what_to_change(tmp_path: Path, accelerator: Accelerator) -> None:
    """Fails when `_memory` adds no note."""

    def too_much(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError) as caught:
        fit(training(tmp_path, losses=too_much, accumulate=2), accelerator)
    assert "x (2, 3), y (2, 1)" in caught.value.__notes__[0]
    assert "--gradient-accumulation-steps 4" in caught.value.__notes__[0]
