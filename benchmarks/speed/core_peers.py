"""The step of `benchmarks.speed.core` through torchdistill and through ModelOpt, as their documentation shows it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.loss import _Loss

WEIGHTS = {"head": 1.0, "stem": 0.5, "body": 0.5}
Step = Callable[[], Tensor]
Networks = tuple[nn.Module, nn.Module, nn.Module]


class Projected(_Loss):
    """The mean squared error of a projected feature; ModelOpt refuses modules that are not of torch's class."""

    def __init__(self, projector: nn.Module) -> None:
        super().__init__()
        self.projector = projector

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compute the error."""
        return F.mse_loss(self.projector(student), teacher)


def torchdistill(networks: Networks, rgb: Tensor, flow: Tensor, label: Tensor) -> Step:
    """Return the step with two forward hook managers, whose dictionaries hold the layers' outputs."""
    manager = import_module("torchdistill.core.forward_hook").ForwardHookManager
    student, teacher, projector = networks
    teacher.eval().requires_grad_(False)
    managers = [manager(torch.device("cpu")), manager(torch.device("cpu"))]
    for hooks, network in zip(managers, (student, teacher), strict=True):
        for path in WEIGHTS:
            hooks.add_hook(network, path, requires_input=False, requires_output=True)
    losses = {"head": nn.MSELoss(), "stem": Projected(projector), "body": nn.MSELoss()}
    optimizer = torch.optim.SGD([*student.parameters(), *projector.parameters()], lr=0.01)

    def step() -> Tensor:
        with torch.no_grad():
            teacher(flow)
        loss = F.cross_entropy(student(rgb), label)
        ours, theirs = (hooks.pop_io_dict() for hooks in managers)
        for path, weight in WEIGHTS.items():
            loss = loss + weight * losses[path](ours[path]["output"], theirs[path]["output"])
        return _update(loss, optimizer)

    return step


def modelopt(networks: Networks, rgb: Tensor, flow: Tensor, label: Tensor) -> Step:
    """Return the step with a converted student, run once for each of the two inputs.

    Its balancer accepts weights up to a sum of 1 only, so the terms are weighted here.
    """
    distill: Any = import_module("modelopt.torch.distill")
    student, teacher, projector = networks
    losses = {"head": nn.MSELoss(), "stem": Projected(projector), "body": nn.MSELoss()}
    settings = {
        "teacher_model": teacher,
        "criterion": {(path, path): loss for path, loss in losses.items()},
        "loss_balancer": distill.StaticLossBalancer([0.5, 0.25, 0.25]),
    }
    model = distill.convert(student, mode=[("kd_loss", settings)])
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01)

    def step() -> Tensor:
        with model.only_teacher_forward():
            model(flow)
        with model.only_student_forward():
            loss = F.cross_entropy(model(rgb), label)
        terms = model.compute_kd_loss(student_loss=None, skip_balancer=True).values()
        for weight, term in zip(WEIGHTS.values(), terms, strict=True):
            loss = loss + weight * term
        return _update(loss, optimizer)

    return step


PEERS = {"torchdistill": torchdistill, "ModelOpt": modelopt}


def _update(loss: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()
