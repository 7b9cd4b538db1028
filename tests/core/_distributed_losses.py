"""Run by test_distributed_losses: `python -m tests.core._distributed_losses RANK FOLDER`, on two gloo processes.

Every rank takes one half of a batch of eight, for every row of every table of losses; rank 0 writes the gradients that
the ranks agree on, of a small student and of the parameters of the loss.
"""

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import kdvideo as kd
from tests.core import (
    test_battery,
    test_losses_divergences,
    test_losses_features,
    test_losses_logits,
    test_losses_parametric,
)
from tests.core.battery import Row, network, pair

BATCH = 8
ROWS: dict[str, Row] = (
    test_battery.TABLE
    | test_losses_features.TABLE
    | test_losses_logits.TABLE
    | test_losses_divergences.TABLE
    | test_losses_divergences.ALONE
    | test_losses_parametric.TABLE
)
# What compares samples with each other, or takes statistics of the batch, sees the samples of its process only.
RELATIONS = (
    kd.SimilarityPreserving,
    kd.RKDDistance,
    kd.RKDAngle,
    kd.PKT,
    kd.CorrelationCongruence,
    kd.PKD,
    kd.DIST,
    kd.MLKD,
    kd.SemCKD,
)
SHARDED = ("soft_target tokens", "feature_mse", "dkd", "ctkd", "vid", "mgd", "review_kd")


class Together(nn.Module):
    """Student and criterion in one module, as they are wrapped where the criterion has parameters."""

    def __init__(self, row: Row, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.row = row
        self.student = network(row).to(dtype)
        self.criterion = copy.deepcopy(row.loss).to(dtype).eval()
        for module in self.criterion.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()  # tests before this one, in this process only, have moved them
        if isinstance(row.loss, kd.SemCKD):
            torch.manual_seed(0)
            self.criterion = kd.SemCKD("x", "x", [4], [4], batch_size=BATCH // 2, axes=len(row.shape) - 2).to(dtype)

    def forward(self, x: Tensor, teacher: Tensor, given: dict[str, Tensor]) -> Tensor:
        student = self.student(x).view(teacher.shape)
        if self.row.prepare is not None:
            student, teacher = self.row.prepare(student), self.row.prepare(teacher)
        loss: Tensor = self.criterion(*self.row.outputs(student, teacher), **given)
        return loss


def batch(row: Row, part: slice) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return a part of the batch of eight: inputs, the teacher's tensor and what else is given."""
    x = torch.randn(BATCH, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, teacher = pair((BATCH, *row.shape[1:]))
    given = {name: value[torch.arange(BATCH) % len(value)][part] for name, value in row.given.items()}
    return x[part], teacher[part], given


def gradients(module: Together, run: nn.Module, part: slice) -> dict[str, Tensor]:
    """Return the gradients of all that learns after one backward pass on a part of the batch."""
    run(*batch(module.row, part)).backward()
    found = {name: p.grad for name, p in module.named_parameters() if p.requires_grad and p.grad is not None}
    return {name: one.full_tensor() if isinstance(one, DTensor) else one for name, one in found.items()}


def ddp(module: Together) -> nn.Module:
    # Of some losses a part of the parameters has no gradient on one layer.
    return DistributedDataParallel(module, find_unused_parameters=isinstance(module.criterion, kd.SemCKD))


def fsdp(module: Together) -> nn.Module:
    return fully_shard(module, mesh=dist.init_device_mesh("cpu", (dist.get_world_size(),)))


WAYS: dict[str, tuple[Callable[[Together], nn.Module], tuple[str, ...]]] = {
    "ddp": (ddp, tuple(ROWS)),
    "fsdp2": (fsdp, SHARDED),
}


def memories(part: slice, wrap: Callable[[Together], nn.Module] | None) -> tuple[Tensor, Tensor]:
    """Return what CRD remembers after two steps in training mode."""
    row = copy.copy(ROWS["crd"])
    torch.manual_seed(0)
    row.loss, row.given = kd.CRD("x", 5, 5, samples=BATCH, dim=3, negatives=2), {"index": torch.arange(BATCH)}
    module = Together(row).train()
    run = module if wrap is None else wrap(module)
    for _ in range(2):
        run(*batch(row, part)).backward()
    assert isinstance(module.criterion, kd.CRD)
    return module.criterion.student_memory, module.criterion.teacher_memory


def main(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    part = slice(rank * BATCH // 2, (rank + 1) * BATCH // 2)
    found = {}
    for way, (wrap, names) in WAYS.items():
        for name in names:
            module = Together(ROWS[name])
            found[way, name] = gradients(module, wrap(module), part)
    torch.save((found, memories(part, ddp)), folder / f"found{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
