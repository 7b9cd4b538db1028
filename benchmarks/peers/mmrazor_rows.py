"""mmrazor's losses, one file each, without the registry that finds them by name."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.peers.classic_rows import dkd
from benchmarks.peers.row import LABELS, SHAPES, Function, Row
from benchmarks.peers.sources import Sources
from kdvideo import functional as ours

BATCH, CLASSES = SHAPES["logits"]
POSITIONS = BATCH * 25  # of a channel of "maps", over the batch


def rows(sources: Sources) -> list[Row]:
    """Return one row for each loss that both have."""
    return [*_logits(sources), *_relations(sources), *_maps(sources)]


def _logits(sources: Sources) -> list[Row]:
    kl = sources.mmrazor("kl_divergence").KLDivergence(tau=4.0)
    dist = sources.mmrazor("dist_loss").DISTLoss(tau=4.0)
    decoupled = sources.mmrazor("decoupled_kd").DKDLoss(tau=4.0, alpha=1.0, beta=8.0)
    wsld = sources.mmrazor("weighted_soft_label_distillation").WSLD(tau=2.0, num_classes=CLASSES)
    return [
        Row("SoftTarget", "KLDivergence", "× 1", kl, lambda s, t: ours.soft_target(s, t, temperature=4.0)),
        Row(
            "SoftTarget",
            "KLDivergence, (B, K, H, W)",
            "× 1/(H · W)",
            lambda s, t: kl(s, t) / s[0, 0].numel(),
            lambda s, t: ours.soft_target(s, t, temperature=4.0),
            "maps",
        ),
        Row(
            "DIST",
            "DISTLoss",
            "× 1/T²",
            lambda s, t: dist(s, t) / 16,
            lambda s, t: ours.dist(s, t, temperature=4.0),
        ),
        Row("DKD", "DKDLoss", "× 1", lambda s, t: decoupled(s, t, LABELS), dkd),
        Row("WSLD", "WSLD", "minus the weighted entropy of the teacher", _less_entropy(wsld), _wsld),
    ]


def _wsld(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.wsld(student, teacher, labels=LABELS)


def _less_entropy(loss: torch.nn.Module) -> Function:
    """They weight the cross-entropy with the teacher where we weight the divergence; the weights have no gradient."""

    def converted(student: Tensor, teacher: Tensor) -> Tensor:
        ratio = F.cross_entropy(student.detach(), LABELS, reduction="none") / F.cross_entropy(
            teacher, LABELS, reduction="none"
        )
        soft = (teacher / 2.0).softmax(1)
        entropy = -(soft * soft.log()).sum(1)
        value: Tensor = loss(student, teacher, LABELS) - 4.0 * ((1 - (-ratio).exp()) * entropy).mean()
        return value

    return converted


def _relations(sources: Sources) -> list[Row]:
    peer = sources.mmrazor("relational_kd")
    distance = peer.DistanceWiseRKD(loss_weight=1.0)
    angle = peer.AngleWiseRKD(loss_weight=1.0)
    pairs, triples = BATCH / (BATCH - 1), BATCH**2 / ((BATCH - 1) * (BATCH - 2))

    def unit(loss: Function) -> Function:
        return lambda student, teacher: loss(F.normalize(student, dim=1), F.normalize(teacher, dim=1))

    return [
        Row(
            "RKDDistance",
            "DistanceWiseRKD",
            "× B/(B − 1), ours on unit vectors",
            lambda s, t: pairs * distance(s, t),
            unit(ours.rkd_distance),
            "vectors",
        ),
        Row(
            "RKDAngle",
            "AngleWiseRKD",
            "× B²/((B − 1)(B − 2)), ours on unit vectors",
            lambda s, t: triples * angle(s, t),
            unit(ours.rkd_angle),
            "vectors",
        ),
    ]


def _maps(sources: Sources) -> list[Row]:
    attention = sources.mmrazor("at_loss").ATLoss()
    cwd = sources.mmrazor("cwd").ChannelWiseDivergence(tau=4.0)
    pkd = sources.mmrazor("pkd_loss").PKDLoss()
    factor = sources.mmrazor("factor_transfer_loss").FTLoss()
    overhaul = sources.mmrazor("ofd_loss").OFDLoss()
    squares = sources.mmrazor("l2_loss").L2Loss(normalize=False, div_element=True)
    margin = -torch.linspace(0.1, 2.0, SHAPES["maps"][1], dtype=torch.float64)

    def theirs_ofd(student: Tensor, teacher: Tensor) -> Tensor:
        value: Tensor = 1000.0 * overhaul(student, torch.maximum(teacher, margin.to(teacher).view(1, -1, 1, 1)))
        return value

    return [
        Row("FeatureMSE", "L2Loss(normalize=False, div_element=True)", "× 1", squares, _mse, "maps"),
        Row("AttentionTransfer", "ATLoss", "× 1", attention, lambda s, t: ours.attention_transfer(s, t), "maps"),
        Row("CWD", "ChannelWiseDivergence", "× 1", cwd, lambda s, t: ours.cwd(s, t, temperature=4.0), "maps"),
        Row(
            "PKD",
            "PKDLoss",
            "× M/(M − 1)",
            lambda s, t: pkd(s, t) * POSITIONS / (POSITIONS - 1),
            lambda s, t: ours.pkd(s, t),
            "maps",
        ),
        Row(
            "FactorTransfer",
            "FTLoss",
            "× size of the factor",
            lambda s, t: s[0].numel() * factor(s, t),
            lambda s, t: ours.factor_transfer(s, t),
            "maps",
        ),
        Row(
            "OFD",
            "OFDLoss",
            "× 1000, their teacher cut at the margin",
            theirs_ofd,
            lambda s, t: ours.ofd(s, t, margin=margin.to(s)),
            "maps",
        ),
    ]


def _mse(student: Tensor, teacher: Tensor) -> Tensor:
    return ours.feature_mse(student, teacher)
