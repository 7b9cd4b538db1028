"""Where RepDistiller, mdistiller and mmrazor differ from the equation of the paper."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

import kdvideo as kd
from benchmarks.peers.case import Case
from benchmarks.peers.sources import Sources
from kdvideo import functional as ours


def cases(sources: Sources) -> list[Case]:
    """Return all cases."""
    return [*_rep_distiller(sources), *_dkd(sources), *_scale_and_learning(sources)]


def _rep_distiller(sources: Sources) -> list[Case]:
    peer = sources.package("RepDistiller", "distiller_zoo")
    teacher = torch.zeros(4, 3)
    student = torch.tensor([[1.0, 0, 0], [0, 0, 0], [1.0, 0, 0], [0, 0, 0]])
    order = torch.tensor([0, 2, 1, 3])
    left, right = torch.zeros(1, 2, 1, 2), torch.zeros(1, 2, 1, 2)
    left[0, 0], right[0, 1] = 1.0, 1.0  # the same attention in another channel
    angles = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    same, moved = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 3)
    return [
        Case(
            "RepDistiller",
            "Correlation, the same batch in two orders",
            "student − teacher is (1, 0, 0) in every second of 4 samples; then in the first two",
            "of a batch, whatever its order",
            lambda: _two(peer.Correlation()(student, teacher), peer.Correlation()(student[order], teacher[order])),
            lambda: _two(*(_congruence(student[i], same[i]) for i in (torch.arange(4), order))),
        ),
        Case(
            "RepDistiller",
            "FactorTransfer",
            "channel 1 of the student is channel 2 of the teacher",
            "‖F̃ₛ − F̃ₜ‖₁, both divided by their length",
            lambda: peer.FactorTransfer()(left, right),
            lambda: ours.factor_transfer(left, right),
            lambda: 4 / math.sqrt(2),
        ),
        Case(
            "RepDistiller",
            "PKT, × B",
            "student (1, 0), (0, 1), (1, 1); teacher (1, 0), (0, 1), (−1, 0)",
            "Σⱼ≠ᵢ pᵢⱼ log pᵢⱼ/qᵢⱼ, kernel (cos + 1)/2",
            lambda: 3 * peer.PKT()(*(x.clone() for x in angles)),
            lambda: ours.pkt(*angles),
            lambda: _pkt(*(x.tolist() for x in angles)),
        ),
        Case(
            "RepDistiller",
            "HintLoss, one map for the batch",
            "student (4, 3), teacher (1, 3)",
            "none: the batches differ",
            lambda: peer.HintLoss()(moved, moved[:1] + 1),
            lambda: ours.feature_mse(moved, moved[:1] + 1),
        ),
    ]


def _two(first: Any, second: Any) -> str:
    return f"{float(first):.4g} and {float(second):.4g}"


def _congruence(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.correlation_congruence(student, teacher)


def _pkt(student: list[list[float]], teacher: list[list[float]]) -> float:
    def neighbors(rows: list[list[float]], i: int) -> dict[int, float]:
        cosine = {
            j: sum(a * b for a, b in zip(rows[i], rows[j], strict=True)) / (math.hypot(*rows[i]) * math.hypot(*rows[j]))
            for j in range(len(rows))
            if j != i
        }
        kernel = {j: (value + 1) / 2 for j, value in cosine.items()}
        return {j: value / sum(kernel.values()) for j, value in kernel.items()}

    total = 0.0
    for i in range(len(student)):
        p, q = neighbors(teacher, i), neighbors(student, i)
        total += sum(p[j] * math.log(p[j] / q[j]) for j in p if p[j] > 0)
    return total / len(student)


def _dkd(sources: Sources) -> list[Case]:
    peer = sources.package("mdistiller", "mdistiller.distillers.DKD")
    decoupled = sources.mmrazor("decoupled_kd").DKDLoss
    sure, teacher, label = torch.tensor([[200.0, 1.0, 0.0]]), torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0])
    p = math.exp(2) / (math.exp(2) + math.e + 1)
    rest = math.log(math.e + 1)
    many = torch.tensor([[0.0, 1.0, 2.0]]).repeat(4, 1), teacher.repeat(4, 1), label.repeat(4)
    return [
        Case(
            "mdistiller",
            "dkd_loss, a student that is sure",
            "student (200, 1, 0), teacher (2, 1, 0), label 0, T = 1, β = 0, float32",
            "KL of (p_y, 1 − p_y)",
            lambda: peer.dkd_loss(sure, teacher, label, 1.0, 0.0, 1.0),
            lambda: ours.dkd(sure, teacher, labels=label, alpha=1.0, beta=0.0, temperature=1.0),
            lambda: p * math.log(p) + (1 - p) * (math.log(1 - p) - (rest - 200)),
        ),
        Case(
            "mmrazor",
            "DKDLoss(reduction='mean') over 'sum'",
            "any",
            "1/(number of elements)",
            lambda: decoupled(reduction="mean")(*many) / decoupled(reduction="sum")(*many),
            lambda: "no such option",
        ),
    ]


def _scale_and_learning(sources: Sources) -> list[Case]:
    dist = sources.mmrazor("dist_loss").DISTLoss
    vid = sources.package("mdistiller", "mdistiller.distillers.VID").VID
    rkd = sources.package("RepDistiller", "distiller_zoo").RKDLoss(1, 0)
    logits = [torch.tensor([[1.0, 2, 4], [3.0, 1, 0]]), torch.tensor([[2.0, 1, 4], [1.0, 3, 2]])]
    far = [torch.tensor([[0.0], [0.01], [0.03]]) + 100, torch.tensor([[0.0], [0.02], [0.03]]) + 100]

    def variances() -> str:
        distiller = vid.__new__(vid)
        nn.Module.__init__(distiller)
        distiller.student = nn.Identity()
        distiller.eps, distiller.init_pred_var = 1e-5, 5.0
        distiller.init_vid_modules([4], [4])
        learned = {id(parameter) for parameter in distiller.get_learnable_parameters()}
        return "learned" if id(distiller.log_scales[0]) in learned else "constant"

    return [
        Case(
            "mmrazor",
            "DISTLoss(tau=4) over its value without T²",
            "any; torchdistill's is the same",
            "no T²: 1",
            lambda: dist(tau=4.0)(*logits) / ours.dist(logits[0], logits[1], temperature=4.0),
            lambda: 1,
            lambda: 1.0,
        ),
        Case(
            "RepDistiller",
            "RKDLoss(1, 0), float32, × B/(B − 1)",
            "student 100, 100.01, 100.03; teacher 100, 100.02, 100.03",
            "smooth L1 of distances over their mean",
            lambda: 1.5 * rkd(*far),
            lambda: ours.rkd_distance(*far),
            lambda: (0.5**2 + 0.5**2 + 0.0) / 2 / 3,
        ),
        Case(
            "mdistiller",
            "VID, the variances",
            "what `get_learnable_parameters` returns",
            "they are learned",
            variances,
            lambda: "learned" if len(list(kd.VID("a", 4).parameters())) else "constant",
        ),
    ]
