"""torchdistill's losses, which read what they compare from a dictionary of the layers' inputs and outputs."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.row import LABELS, SHAPES, Function, Row
from benchmarks.peers.sources import Sources
from kdvideo import functional as ours

BATCH, CLASSES = SHAPES["logits"]
PATHS = {
    "student_module_path": "layer",
    "student_module_io": "output",
    "teacher_module_path": "layer",
    "teacher_module_io": "output",
}
OUTPUTS = {"student_output_path": "layer", "teacher_output_path": "layer"}
LAYER = {"path": "layer", "io": "output"}


def between(loss: Any, *labels: Tensor, factor: float = 1.0) -> Function:
    """Return a loss of torchdistill as a function of tensors."""
    return lambda student, teacher: factor * loss(outputs(student), outputs(teacher), *labels)


def outputs(value: Any) -> dict[str, dict[str, Any]]:
    """Return the dictionary that torchdistill's hooks would have filled."""
    return {"layer": {"output": value}}


def rows(sources: Sources) -> list[Row]:
    """Return one row for each loss that both have."""
    peer = sources.installed("torchdistill.losses.mid_level")
    return [*_logits(peer), *_relations(peer), *_maps(peer), _crd(peer)]


def _logits(peer: Any) -> list[Row]:
    unbiased = CLASSES / (CLASSES - 1)
    temperature = 4 * math.sqrt(unbiased)

    def with_labels(student: Tensor, teacher: Tensor) -> Tensor:
        return 0.3 * F.cross_entropy(student, LABELS) + 0.7 * ours.soft_target(student, teacher, temperature=4.0)

    def standardized(student: Tensor, teacher: Tensor) -> Tensor:
        z = [ours.standardize(logits) for logits in (student, teacher)]
        return ours.soft_target(z[0], z[1], temperature=temperature)

    kd = peer.KDLoss(**PATHS, temperature=4.0, alpha=0.3)
    kd_alone = peer.KDLoss(**PATHS, temperature=4.0, alpha=0.0)
    z_kd = peer.LogitStdKDLoss(**PATHS, temperature=4.0, alpha=0.0)
    dist = peer.DISTLoss(**PATHS, tau=4.0)
    return [
        Row("SoftTarget", "KDLoss(alpha=0.3)", "× 1, with 0.3 · cross-entropy", between(kd, LABELS), with_labels),
        Row(
            "SoftTarget",
            "KDLoss(alpha=0)",
            "× T²",
            between(kd_alone, LABELS, factor=16.0),
            lambda s, t: ours.soft_target(s, t, temperature=4.0),
        ),
        Row(
            "Standardized",
            "LogitStdKDLoss(alpha=0)",
            "× T² K/(K − 1), our T × √(K/(K − 1))",
            between(z_kd, LABELS, factor=16.0 * unbiased),
            standardized,
        ),
        Row("DIST", "DISTLoss", "× 1/T²", between(dist, factor=1 / 16), lambda s, t: ours.dist(s, t, temperature=4.0)),
    ]


def _relations(peer: Any) -> list[Row]:
    distance = peer.RKDLoss(**OUTPUTS, dist_factor=1.0, angle_factor=0.0, reduction="mean")
    angle = peer.RKDLoss(**OUTPUTS, dist_factor=0.0, angle_factor=1.0, reduction="mean")
    kernel = {"type": "gaussian", "gamma": 0.4, "max_p": 2}
    congruence = peer.CCKDLoss("layer", "layer", kernel, "batchmean")

    def squared(student: Tensor, teacher: Tensor) -> Tensor:
        unit = [F.normalize(x, dim=1) for x in (student, teacher)]
        return (BATCH * between(congruence)(unit[0], unit[1])) ** 2

    return [
        Row(
            "RKDDistance",
            "RKDLoss",
            "× B/(B − 1)",
            between(distance, factor=BATCH / (BATCH - 1)),
            ours.rkd_distance,
            "vectors",
        ),
        Row(
            "RKDAngle",
            "RKDLoss",
            "× B²/((B − 1)(B − 2))",
            between(angle, factor=BATCH**2 / ((BATCH - 1) * (BATCH - 2))),
            ours.rkd_angle,
            "vectors",
        ),
        Row(
            "SimilarityPreserving",
            "SPKDLoss",
            "× 1",
            between(peer.SPKDLoss(**OUTPUTS, reduction="batchmean")),
            ours.similarity_preserving,
            "vectors",
            "rows are divided by their sum of absolute values, not by their length",
        ),
        Row(
            "PKT",
            "PKTLoss",
            "× B",
            between(peer.PKTLoss(**PATHS), factor=float(BATCH)),
            ours.pkt,
            "vectors",
            "every sample is its own neighbor, and 1e-7 is added",
        ),
        Row("CorrelationCongruence", "CCKDLoss", "(B · theirs)², unit vectors", squared, _congruence, "vectors"),
    ]


def _congruence(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.correlation_congruence(student, teacher)


def _maps(peer: Any) -> list[Row]:
    pairs = {"one": {"student": LAYER, "teacher": LAYER}}
    scale = torch.linspace(-1.0, 2.0, SHAPES["maps"][1], dtype=torch.float64)

    def vid(student: Tensor, teacher: Tensor) -> Tensor:
        variance = (F.softplus(scale) + 1e-5).to(student).view(1, -1, 1, 1)
        loss: Tensor = peer.VIDLoss(pairs)(outputs((student, variance)), outputs(teacher))
        return loss

    def hcl(student: Tensor, teacher: Tensor) -> Tensor:
        loss: Tensor = peer.HierarchicalContextLoss(**PATHS)(outputs((student, None)), outputs(teacher))
        return loss

    def ft(student: Tensor, teacher: Tensor) -> Tensor:
        found: Tensor = peer.FTLoss(1, "mean", "layer", "layer")(outputs(student), outputs(teacher))
        return student[0].numel() * found

    return [
        Row("AttentionTransfer", "ATLoss(mode='code')", "× 1", between(peer.ATLoss(pairs)), _attention, "maps"),
        Row("ICKD", "ChSimLoss", "× B", between(peer.ChSimLoss(pairs), factor=float(BATCH)), _ickd, "maps"),
        Row("VID", "VIDLoss", "× 1", vid, lambda s, t: ours.vid(s, t, scale=scale.to(s)), "maps"),
        Row("ReviewKD", "HierarchicalContextLoss", "× 1 (`hcl`)", hcl, lambda s, t: ours.hcl(s, t), "maps"),
        Row("FactorTransfer", "FTLoss", "× size of the factor", ft, lambda s, t: ours.factor_transfer(s, t), "maps"),
        Row(
            "FSP",
            "FSPLoss",
            "× 1",
            _fsp(peer),
            lambda s, t: ours.fsp((s, s.relu()), (t, t.relu())),
            "maps",
            "norms of columns are added, where the paper adds squares",
        ),
    ]


def _attention(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.attention_transfer(student, teacher)


def _ickd(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.ickd(student, teacher)


def _fsp(peer: Any) -> Function:
    first = {"path": "layer", "io": "input"}
    pair = {"student_first": first, "student_second": LAYER, "teacher_first": first, "teacher_second": LAYER}
    loss = peer.FSPLoss({"one": pair})

    def both(feature: Tensor) -> dict[str, dict[str, Tensor]]:
        return {"layer": {"input": feature, "output": feature.relu()}}

    return lambda student, teacher: loss(both(student), both(teacher))


def _crd(peer: Any) -> Row:
    """With the batch in the memories and the constant of the first batch given."""
    samples, negatives, constant = 20, 5, 40.0
    random = torch.Generator().manual_seed(1)
    memories = F.normalize(torch.randn(2, samples, SHAPES["vectors"][1], generator=random, dtype=torch.float64), dim=2)
    index = torch.randint(BATCH, samples, (BATCH, negatives), generator=random)
    position = torch.arange(BATCH)
    given = {"pos_idx": position, "contrast_idx": torch.cat([position.unsqueeze(1), index], 1)}

    def theirs(student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
        loss = peer.CRDLoss("n", "e", "n", student.shape[1], samples, negatives, samples).to(student)
        loss.memory_v1.copy_(memories[0])
        loss.memory_v2.copy_(memories[1])
        loss.memory_v1[position], loss.memory_v2[position] = student.detach(), teacher
        loss.params[2:4] = constant
        value: Tensor = loss({"n": {"output": student}, "e": {"input": given}}, {"n": {"output": teacher}})
        return value

    def crd(student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
        left, right = (memory[index].to(student) for memory in memories)
        return ours.crd(
            student, teacher, student_negatives=left, teacher_negatives=right, samples=samples, constant=constant
        )

    return Row(
        "CRD",
        "CRDLoss",
        "× 1, the batch in the memories",
        theirs,
        crd,
        "vectors",
        "the value is equal; the teacher's half has no gradient, as its student comes from the memory",
    )
