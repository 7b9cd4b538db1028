"""Where torchdistill, ModelOpt, timm and TRL differ from the equation of the paper, or from what is expected."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch
from torch import Tensor, nn

import kdvideo as kd
from benchmarks.peers.case import Case, kl
from benchmarks.peers.other_rows import Constant
from benchmarks.peers.sources import Sources
from benchmarks.peers.torchdistill_rows import OUTPUTS, PATHS, outputs
from kdvideo import functional as ours


def cases(sources: Sources) -> list[Case]:
    """Return all cases."""
    return [*_torchdistill(sources), _classes(sources), *_teachers(sources), *_lengths(sources)]


def _torchdistill(sources: Sources) -> list[Case]:
    peer = sources.installed("torchdistill.losses.mid_level")
    student, teacher = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.eye(2)
    one, two = torch.zeros(4, 2), torch.tensor([[4.0, 0.0]])
    alone = peer.KDLoss(**PATHS, temperature=4.0, alpha=0.0)
    root2, root5 = math.sqrt(2), math.sqrt(5)
    given = {"n": {"output": torch.eye(2)}, "e": {"input": {"pos_idx": torch.arange(2)}}}
    return [
        Case(
            "torchdistill",
            "SPKDLoss",
            "student (1, 0), (1, 1); teacher (1, 0), (0, 1)",
            "1/B² ‖G̃ₛ − G̃ₜ‖², rows of the Gram matrices divided by their length",
            lambda: peer.SPKDLoss(**OUTPUTS, reduction="batchmean")(outputs(student), outputs(teacher)),
            lambda: ours.similarity_preserving(student, teacher),
            lambda: (2 * (1 - 1 / root2) + 2 * (1 - 2 / root5)) / 4,
        ),
        Case(
            "torchdistill",
            "KDLoss(alpha=0)",
            "student (0, 0), teacher (4, 0), T = 4",
            "T² KL(p ‖ q)",
            lambda: alone(outputs(one[:1]), outputs(two)),
            lambda: ours.soft_target(one[:1], two),
            lambda: 16 * kl([4.0, 0.0], [0.0, 0.0], 4.0),
        ),
        Case(
            "torchdistill",
            "KDLoss, one teacher row for four",
            "student (4, 2), teacher (1, 2)",
            "none: the batches differ",
            lambda: alone(outputs(one), outputs(two)),
            lambda: ours.soft_target(one, two),
        ),
        Case(
            "torchdistill",
            "CRDLoss, no `contrast_idx`",
            "a batch with the numbers of its samples",
            "negatives are drawn from the memory",
            lambda: peer.CRDLoss("n", "e", "n", 2, 8, 3, 8)(given, given),
            lambda: "a loss" if torch.isfinite(_our_crd()) else "no loss",
        ),
    ]


def _our_crd() -> Tensor:
    output = kd.Output(None, {"n": torch.eye(2)})
    loss: Tensor = kd.CRD("n", 2, 2, samples=8, negatives=3)(output, output, index=torch.arange(2))
    return loss


def _classes(sources: Sources) -> Case:
    modelopt = sources.installed("modelopt.torch.distill.losses")
    flat, sharp = torch.zeros(1, 1000), torch.zeros(1, 1000)
    sharp[0, 0] = 8.0
    return Case(
        "ModelOpt",
        "LogitsDistillationLoss",
        "student 0, teacher (8, 0, …, 0), K = 1000, T = 1",
        "KL(p ‖ q), a sum over classes",
        lambda: modelopt.LogitsDistillationLoss()(flat, sharp),
        lambda: ours.soft_target(flat, sharp, temperature=1.0),
        lambda: kl([8.0] + [0.0] * 999, [0.0] * 1000),
    )


def _teachers(sources: Sources) -> list[Case]:
    before = sources.installed("torchdistill.core.interfaces.pre_epoch_proc").default_pre_epoch_process_with_teacher
    task = sources.installed("timm.task").LogitDistillationTask

    def mode() -> str:
        teacher = nn.Dropout()
        box = {"teacher_io_dict": {}, "student_io_dict": {}, "student_model": nn.Identity(), "teacher_model": teacher}
        before(SimpleNamespace(**box, distributed=False))
        return "training" if teacher.training else "evaluation"

    def gradient() -> str:
        teacher = nn.Linear(1, 1)
        task(Constant(None), teacher, criterion=nn.CrossEntropyLoss(), verbose=False)
        return "needs one" if teacher.weight.requires_grad else "none"

    return [
        Case(
            "torchdistill",
            "DistillationBox, the teacher's mode",
            "a teacher on which nobody called `eval()`",
            "evaluation",
            mode,
            lambda: "training" if kd.Teacher(nn.Dropout()).train().training else "evaluation",
        ),
        Case(
            "timm",
            "LogitDistillationTask, the teacher's gradient",
            "a task on one process",
            "none",
            gradient,
            lambda: "needs one" if any(p.requires_grad for p in kd.Teacher(nn.Linear(1, 1)).parameters()) else "none",
        ),
    ]


def _lengths(sources: Sources) -> list[Case]:
    jsd = sources.installed("trl.experimental.gkd").GKDTrainer.generalized_jsd_loss
    random = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 10, generator=random), torch.randn(2, 7, 10, generator=random)
    valid = torch.ones(2, 7).bool()
    return [
        Case(
            "TRL",
            "generalized_jsd_loss without labels over its value with labels",
            "2 sequences of 7 tokens, all valid",
            "a mean over tokens: 1",
            lambda: jsd(student, teacher) / jsd(student, teacher, labels=valid.long()),
            lambda: (
                ours.jensen_shannon(student, teacher, dim=-1)
                / ours.jensen_shannon(student, teacher, dim=-1, mask=valid)
            ),
            lambda: 1.0,
        )
    ]
