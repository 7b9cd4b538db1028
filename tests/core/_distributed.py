"""Run by test_distributed: `python -m tests.core._distributed RANK FOLDER`, on two gloo processes.

Every rank takes one half of a batch; rank 0 writes the gradients that the ranks agree on.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

import kdvideo as kd
from tests.core.nets import VideoNet, clips

LAYERS = {"stem": "low", "block": "high"}


def build() -> tuple[kd.Student, kd.Teacher]:
    torch.manual_seed(0)
    projectors = {"low": kd.projectors.conv(4, 6)}
    student = kd.Student(VideoNet(norm=False), LAYERS, projectors=projectors)
    return student, kd.Teacher(VideoNet(channels=2, width=6, norm=False), LAYERS)


def gradients(
    student: kd.Student, run: Callable[..., kd.Output], teacher: kd.Teacher, part: slice
) -> dict[str, torch.Tensor]:
    """Gradients after two backward passes on a part of the batch of four."""
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("low")
    for seed in (0, 1):
        s = run(clips(4, seed=seed)[part])
        t = teacher(clips(4, channels=2, seed=seed)[part])
        label = torch.tensor([0, 1, 2, 3])[part]
        (F.cross_entropy(s.logits, label) + criterion(s, t)).backward()
    return {name: whole(p.grad) for name, p in student.named_parameters()}


def whole(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.full_tensor() if isinstance(gradient, DTensor) else gradient


def ddp(student: kd.Student, **options: bool) -> nn.Module:
    return DistributedDataParallel(student, **options)


def fsdp(student: kd.Student) -> nn.Module:
    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(student.model.stem, mesh=mesh)
    return fully_shard(student, mesh=mesh)


WAYS: dict[str, Callable[[kd.Student], nn.Module]] = {
    "ddp": ddp,
    "ddp, find unused": lambda student: ddp(student, find_unused_parameters=True),
    "ddp, static graph": lambda student: ddp(student, static_graph=True),
    "fsdp2": fsdp,
}


def average(student: kd.Student, run: nn.Module, teacher: kd.EMATeacher) -> dict[str, torch.Tensor]:
    """Weights of the moving average after two updates, between which the student moves."""
    for _ in range(2):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.mul_(0.5)
        teacher.update(run)
    teacher(clips())
    return {name: whole(p.detach()) for name, p in teacher.named_parameters()}


def averages() -> dict[str, dict[str, torch.Tensor]]:
    """Weights of the average by way of running the student."""
    found = {}
    for name, wrap in {"one process": lambda student: student, "ddp": ddp, "fsdp2": fsdp}.items():
        student, _ = build()
        teacher = kd.EMATeacher(student, momentum=0.75)
        found[name] = average(student, wrap(student), teacher)
    student, _ = build()
    teacher = kd.EMATeacher(student, momentum=0.75)
    run = fsdp(student)
    fully_shard(teacher.model.stem, mesh=student.model.stem.weight.device_mesh)
    fully_shard(teacher, mesh=student.model.stem.weight.device_mesh)
    assert isinstance(teacher.model.head.weight, DTensor)
    found["fsdp2, sharded alike"] = average(student, run, teacher)
    with pytest.raises(ValueError, match="shard both alike"):
        teacher.update(build()[0])
    return found


def main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {}
    for name, wrap in WAYS.items():
        student, teacher = build()
        before = [value.clone() for value in teacher.state_dict().values()]
        found[name] = gradients(student, wrap(student), teacher, slice(2 * rank, 2 * rank + 2))
        after = teacher.state_dict().values()
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), name
    moving = averages()
    if rank == 0:
        torch.save(found, folder / "gradients.pt")
        torch.save(moving, folder / "averages.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
