"""The losses of NVIDIA ModelOpt, timm's training tasks and TRL's trainers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from benchmarks.peers.row import LABELS, SHAPES, Function, Row
from benchmarks.peers.sources import Sources
from kdvideo import functional as ours

TOKEN_MASK = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0, 0]]).bool()


def modelopt(sources: Sources) -> list[Row]:
    """Return one row for each loss that ModelOpt and kdvideo have."""
    peer = sources.installed("modelopt.torch.distill.losses")
    classes, channels = SHAPES["logits"][1], SHAPES["maps"][1]
    kl = peer.LogitsDistillationLoss(temperature=4.0)
    torch.manual_seed(0)
    mgd = peer.MGDLoss(channels, channels)

    def theirs_mgd(student: Tensor, teacher: Tensor) -> Tensor:
        torch.manual_seed(1)
        value: Tensor = mgd.to(student)(student, teacher) * teacher[0].numel()
        return value

    def our_mgd(student: Tensor, teacher: Tensor) -> Tensor:
        torch.manual_seed(1)
        keep = torch.rand(len(student), 1, *student.shape[2:]) <= 1 - 0.65
        return ours.mgd(student, teacher, generate=mgd.generation.to(student), keep=keep)

    return [
        Row(
            "SoftTarget",
            "LogitsDistillationLoss",
            "× K",
            lambda s, t: classes * kl(s, t),
            lambda s, t: ours.soft_target(s, t, temperature=4.0),
        ),
        Row(
            "SoftTarget",
            "LogitsDistillationLoss, tokens",
            "× V",
            lambda s, t: classes * kl(s, t),
            lambda s, t: ours.soft_target(s, t, temperature=4.0, dim=-1),
            "tokens",
        ),
        Row("MGD", "MGDLoss", "× C · H · W, same mask and generator", theirs_mgd, our_mgd, "maps"),
    ]


class Constant(nn.Module):
    """A network that returns a given tensor, as timm's tasks call networks."""

    pretrained_cfg: ClassVar = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    num_classes, in_chans = SHAPES["logits"][1], 3

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Any:
        """Return the tensor."""
        return self.value

    forward_features = forward

    def forward_head(self, features: Any, pre_logits: bool = False) -> Any:
        """Return the tensor, which is logits and features in one."""
        return features

    def set_distilled_training(self, enable: bool = True) -> None:
        """Do nothing: the tensor is what a network in distilled training returns."""


def timm(sources: Sources) -> list[Row]:
    """Return one row for each loss that timm and kdvideo have."""
    peer = sources.installed("timm.task")

    def task(kind: Any, term: str, *, tokens: bool = False, **options: Any) -> Function:
        def loss(student: Tensor, teacher: Tensor) -> Tensor:
            network = Constant((student, student) if tokens else student)
            made = kind(network, Constant(teacher), criterion=nn.CrossEntropyLoss(), verbose=False, **options)
            value: Tensor = made(torch.zeros(len(student), 3, 1, 1), LABELS)[term]
            return value

        return loss

    width = SHAPES["logits"][1]
    sizes: dict[str, Any] = {"student_feature_dim": width, "teacher_feature_dim": width}
    return [
        Row(
            "SoftTarget",
            "LogitDistillationTask",
            "× 1",
            task(peer.LogitDistillationTask, "kd_loss", temperature=4.0),
            lambda s, t: ours.soft_target(s, t, temperature=4.0),
        ),
        Row(
            "SoftTarget",
            "TokenDistillationTask(soft)",
            "× 1",
            task(peer.TokenDistillationTask, "distill_loss", tokens=True, temperature=4.0),
            lambda s, t: ours.soft_target(s, t, temperature=4.0),
        ),
        Row(
            "FeatureMSE",
            "FeatureDistillationTask",
            "× 1",
            task(peer.FeatureDistillationTask, "kd_loss", **sizes),
            lambda s, t: ours.feature_mse(s, t),
        ),
    ]


def trl(sources: Sources) -> list[Row]:
    """Return one row for each loss that TRL and kdvideo have."""
    jsd = sources.installed("trl.experimental.gkd").GKDTrainer.generalized_jsd_loss
    chunked = sources.installed("trl.trainer.distillation_trainer")._chunked_divergence_loss
    labels = torch.where(TOKEN_MASK, 1, -100)

    def theirs(beta: float, factor: float = 1.0) -> Function:
        return lambda s, t: factor * jsd(s, t, labels=labels, beta=beta, temperature=2.0)

    def from_hidden(student: Tensor, teacher: Tensor) -> Tensor:
        head = torch.eye(student.shape[-1]).to(student)
        value: Tensor = 4.0 * chunked(student, teacher, head, head, TOKEN_MASK, beta=0.0, temperature=2.0)[0]
        return value

    def our_hidden(student: Tensor, teacher: Tensor) -> Tensor:
        head = nn.Identity()
        return ours.soft_target_from_hidden(
            student, teacher, student_head=head, teacher_head=head, temperature=2.0, mask=TOKEN_MASK
        )

    options: dict[str, Any] = {"temperature": 2.0, "dim": -1, "mask": TOKEN_MASK}
    return [
        Row(
            "JensenShannon",
            "GKDTrainer, beta=0.3",
            "× 1",
            theirs(0.3),
            lambda s, t: ours.jensen_shannon(s, t, beta=0.3, **options),
            "tokens",
        ),
        Row(
            "SoftTarget",
            "GKDTrainer, beta=0",
            "× T²",
            theirs(0.0, 4.0),
            lambda s, t: ours.soft_target(s, t, **options),
            "tokens",
        ),
        Row(
            "ReverseKL",
            "GKDTrainer, beta=1",
            "× 1",
            theirs(1.0),
            lambda s, t: ours.reverse_kl(s, t, **options),
            "tokens",
        ),
        Row("SoftTarget", "DistillationTrainer, beta=0", "× T²", from_hidden, our_hidden, "tokens"),
    ]
