"""The losses of RepDistiller and of mdistiller, which started from it and made functions of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers.row import LABELS, SHAPES, Function, Row
from benchmarks.peers.sources import Sources
from kdvideo import functional as ours

BATCH = SHAPES["logits"][0]
CHANNELS = SHAPES["maps"][1]
SCALE = torch.linspace(-1.0, 2.0, CHANNELS, dtype=torch.float64)
NEIGHBOR = "every sample is its own neighbor, and 1e-7 is added"


def rep_distiller(sources: Sources) -> list[Row]:
    """Return one row for each loss that RepDistiller and kdvideo have."""
    peer = sources.package("RepDistiller", "distiller_zoo")
    distance, angle = peer.RKDLoss(w_d=1, w_a=0), peer.RKDLoss(w_d=0, w_a=1)
    stages = peer.FSP([(0, CHANNELS)], [(0, CHANNELS)])
    return [
        Row("SoftTarget", "DistillKL", "× 1", peer.DistillKL(4.0), _kd),
        Row("FeatureMSE", "HintLoss", "× 1", peer.HintLoss(), lambda s, t: ours.feature_mse(s, t), "maps"),
        Row("AttentionTransfer", "Attention", "× 1", first(peer.Attention()), _attention, "maps"),
        Row(
            "SimilarityPreserving", "Similarity", "× 1", first(peer.Similarity()), ours.similarity_preserving, "vectors"
        ),
        *_rkd("RKDLoss", distance, angle),
        _pkt("PKT", peer.PKT()),
        Row(
            "CorrelationCongruence",
            "Correlation",
            "× 1",
            peer.Correlation(),
            lambda s, t: ours.correlation_congruence(s, t),
            "vectors",
            "no kernel and no relation: ∣s − t∣ of neighbors in the batch, which depends on their order",
        ),
        Row("NST", "NSTLoss", "× 1", first(peer.NSTLoss()), lambda s, t: ours.nst(s, t), "maps"),
        Row("VID", "VIDLoss", "× 1, same regressor", _vid_module(peer.VIDLoss), _vid, "maps"),
        Row(
            "FSP",
            "FSP",
            "× C · D",
            lambda s, t: CHANNELS**2 * stages([s, s.relu()], [t, t.relu()])[0],
            lambda s, t: ours.fsp((s, s.relu()), (t, t.relu())),
            "maps",
        ),
        Row(
            "FactorTransfer",
            "FactorTransfer",
            "× positions",
            lambda s, t: s[0, 0].numel() * peer.FactorTransfer()(s, t),
            lambda s, t: ours.factor_transfer(s, t),
            "maps",
            "the factor is squared and averaged over its channels, which leaves an attention map",
        ),
    ]


def mdistiller(sources: Sources) -> list[Row]:
    """Return one row for each loss that mdistiller and kdvideo have."""
    peer = {name: sources.package("mdistiller", f"mdistiller.distillers.{name}") for name in _FILES}
    rkd = peer["RKD"].rkd_loss

    def distance(student: Tensor, teacher: Tensor) -> Tensor:
        return torch.as_tensor(rkd(student, teacher, distance_weight=1, angle_weight=0))

    def angle(student: Tensor, teacher: Tensor) -> Tensor:
        return torch.as_tensor(rkd(student, teacher, distance_weight=0, angle_weight=1))

    return [
        Row("SoftTarget", "kd_loss", "× 1", lambda s, t: peer["KD"].kd_loss(s, t, 4.0), _kd),
        Row("DKD", "dkd_loss", "× 1", lambda s, t: peer["DKD"].dkd_loss(s, t, LABELS, 1.0, 8.0, 4.0), dkd),
        Row("AttentionTransfer", "at_loss", "× 1", lambda s, t: peer["AT"].at_loss([s], [t], 2), _attention, "maps"),
        Row(
            "SimilarityPreserving",
            "sp_loss",
            "× 1",
            lambda s, t: peer["SP"].sp_loss([s], [t]),
            ours.similarity_preserving,
            "vectors",
        ),
        *_rkd("rkd_loss", distance, angle),
        _pkt("pkt_loss", peer["PKT"].pkt_loss),
        Row("NST", "nst_loss", "× 1", lambda s, t: peer["NST"].nst_loss([s], [t]), lambda s, t: ours.nst(s, t), "maps"),
        Row(
            "VID",
            "vid_loss",
            "× 1, same regressor",
            lambda s, t: peer["VID"].vid_loss(nn.Identity(), SCALE.to(s), s, t),
            _vid,
            "maps",
        ),
        Row(
            "ReviewKD",
            "hcl_loss",
            "× 1 (`hcl`)",
            lambda s, t: peer["ReviewKD"].hcl_loss([s], [t]),
            lambda s, t: ours.hcl(s, t),
            "maps",
        ),
    ]


_FILES = ("KD", "DKD", "AT", "SP", "RKD", "PKT", "NST", "VID", "ReviewKD")


def first(loss: Callable[[list[Tensor], list[Tensor]], list[Tensor]]) -> Function:
    """Return a loss of lists of features as one of a single feature."""
    return lambda student, teacher: loss([student], [teacher])[0]


def dkd(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute our DKD with the options of the rows."""
    return ours.dkd(student, teacher, labels=LABELS, alpha=1.0, beta=8.0, temperature=4.0)


def _kd(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.soft_target(student, teacher, temperature=4.0)


def _attention(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.attention_transfer(student, teacher)


def _vid(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.vid(student, teacher, scale=SCALE.to(student))


def _vid_module(kind: Any) -> Function:
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        module = kind(CHANNELS, CHANNELS, CHANNELS)
        module.regressor = nn.Identity()
        module.log_scale = nn.Parameter(SCALE.to(student))
        value: Tensor = module(student, teacher)
        return value

    return loss


def _rkd(name: str, distance: Function, angle: Function) -> list[Row]:
    pairs, triples = BATCH / (BATCH - 1), BATCH**2 / ((BATCH - 1) * (BATCH - 2))
    return [
        Row(
            "RKDDistance",
            name,
            "× B/(B − 1)",
            lambda s, t: pairs * distance(s, t),
            ours.rkd_distance,
            "vectors",
        ),
        Row("RKDAngle", name, "× B²/((B − 1)(B − 2))", lambda s, t: triples * angle(s, t), ours.rkd_angle, "vectors"),
    ]


def _pkt(name: str, loss: Function) -> Row:
    return Row("PKT", name, "× B", lambda s, t: BATCH * loss(s, t), ours.pkt, "vectors", NEIGHBOR)
