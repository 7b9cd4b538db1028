"""Semantic calibration: every layer of the student against every layer of the teacher, weighted by attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdvideo._checks import check_tensor
from kdvideo._tensors import matched
from kdvideo.features import Output
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import (
    check_positive,
    conv_of,
    full_precision,
    norm_of,
    one_for_each,
    paired,
    pooled_to,
)
from kdvideo.losses.base import Loss
from kdvideo.losses.kinds import feature_of


def sem_ckd(student: Sequence[Sequence[Tensor]], teacher: Sequence[Sequence[Tensor]], *, attention: Tensor) -> Tensor:
    """Compute squared errors of all pairs of layers, weighted for each example.

    L = 1/(B · S) Σ_i Σ_l Σ_k α_ilk · mean (s_ilk − t_ilk)², for S layers l of the student and layers k of the teacher.

    Args:
        student: for each layer l of the student its features (B, ...) projected to each layer k of the teacher.
        teacher: the features of the same shapes.
        attention: α, (B, S, T), whose sum over the teacher's layers is 1.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: other numbers of layers, shapes that differ, attention of another shape, an empty batch, or integer
            tensors.

    Examples:
        >>> import torch
        >>> sem_ckd([[torch.ones(2, 3)]], [[torch.zeros(2, 3)]], attention=torch.ones(2, 1, 1))
        tensor(1.)

    Source:
        Chen, Mei, Zhang, Wang, Wang, Feng, Chen, "Cross-Layer Distillation with Semantic Calibration", AAAI 2021,
        arXiv 2012.03236.
    """
    lengths = {len(layers) for layers in (*student, *teacher)}
    if len(student) != len(teacher) or len(lengths) != 1:
        raise ValueError(
            f"student and teacher must have a feature for each pair of layers, got {[len(one) for one in student]} and "
            f"{[len(one) for one in teacher]} of them"
        )
    check_tensor(attention, "attention")
    rows = []
    for ours, theirs in zip(student, teacher, strict=True):
        pairs = [matched(s, t) for s, t in zip(ours, theirs, strict=True)]
        rows.append(torch.stack([(t - s).square().flatten(1).mean(1) for s, t in pairs], dim=1))
    errors = torch.stack(rows, dim=1)
    if attention.shape != errors.shape:
        raise ValueError(f"attention must be {tuple(errors.shape)}, got {tuple(attention.shape)}")
    return (attention * errors).sum() / (errors.shape[0] * errors.shape[1])


class SemCKD(Loss):
    """Loss object for `sem_ckd`, with the attention and a projection for each pair of layers; optimize its parameters.

    Of two maps the larger is averaged down to the smaller. The attention of a pair compares, example by example, how
    similar the batch looks to both layers: q and k are small networks of the rows of F Fᵀ, of length 1, and
    α = softmax_k(q · k). Rows are as long as the batch, so its size is part of the network and must not change:
    use `drop_last=True`.

    Args:
        student_roles: of the student's layers.
        teacher_roles: of the teacher's layers.
        student_channels: of each of the student's layers.
        teacher_channels: of each of the teacher's layers.
        batch_size: B, on each process.
        axes: of the maps: 1, 2 for (B, C, H, W), 3 for (B, C, T, H, W).
        factor: B is `factor` times the length of q and k; 4 in the authors' code.
        name: of the term; None: "sem_ckd[student's roles:teacher's roles]".

    Raises:
        ValueError: no role, another number of channels than of roles, sizes that are not positive; in forward, another
            batch size, or features with other channels or axes.

    Examples:
        >>> import torch
        >>> student, teacher = (Output(None, {r: torch.randn(8, c, 4, 4) for r in "ab"}) for c in (3, 5))
        >>> criterion = SemCKD(("a", "b"), ("a", "b"), (3, 3), (5, 5), batch_size=8)
        >>> criterion(student, teacher).shape
        torch.Size([])
    """

    def __init__(
        self,
        student_roles: str | Sequence[str],
        teacher_roles: str | Sequence[str],
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        *,
        batch_size: int,
        axes: int = 2,
        factor: int = 4,
        name: str | None = None,
    ) -> None:
        student_roles, teacher_roles = (
            (roles,) if isinstance(roles, str) else tuple(roles) for roles in (student_roles, teacher_roles)
        )
        super().__init__(name=name or f"sem_ckd[{','.join(student_roles)}:{','.join(teacher_roles)}]")
        for roles, channels in ((student_roles, student_channels), (teacher_roles, teacher_channels)):
            if not roles or not one_for_each(roles, channels):
                got = tuple(channels) if isinstance(channels, Sequence) else channels
                raise ValueError(f"there must be channels for each role, got {got} for {roles}: a tuple of both")
        check_positive(batch_size=batch_size, factor=factor, channels=min(*student_channels, *teacher_channels))
        self.student_roles, self.teacher_roles = student_roles, teacher_roles
        self.student_channels, self.teacher_channels = tuple(student_channels), tuple(teacher_channels)
        self.batch_size, self.axes = batch_size, axes
        width = max(batch_size // factor, 1)
        self.queries = nn.ModuleList(_embedding(batch_size, width) for _ in student_roles)
        self.keys = nn.ModuleList(_embedding(batch_size, width) for _ in teacher_roles)
        self.projections = nn.ModuleList(
            nn.ModuleList(_projection(ours, theirs, axes) for theirs in teacher_channels) for ours in student_channels
        )

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the attention, the projections and `sem_ckd`."""
        ours, theirs = self._features(student, teacher)
        sources: list[list[Tensor]] = []
        targets: list[list[Tensor]] = []
        with full_precision(ours[0]):
            attention = self.attention(ours, theirs)
            for feature, projections in zip(ours, self.projections, strict=True):
                assert isinstance(projections, nn.ModuleList)
                pairs = [_smaller(feature, target) for target in theirs]
                sources.append([project(one) for project, (one, _) in zip(projections, pairs, strict=True)])
                targets.append([target for _, target in pairs])
        return sem_ckd(sources, targets, attention=attention)

    def attention(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Compute the attention from the features of all layers.

        Args:
            student: the features of its S layers, (B, ...) each.
            teacher: the features of its T layers, (B, ...) each.

        Returns:
            α, (B, S, T), whose sum over T is 1.
        """
        queries = [_embedded(embed, one) for embed, one in zip(self.queries, student, strict=True)]
        keys = [_embedded(embed, one) for embed, one in zip(self.keys, teacher, strict=True)]
        scores = torch.einsum("bsd,btd->bst", torch.stack(queries, dim=1), torch.stack(keys, dim=1))
        return scores.softmax(2)

    def _features(self, student: Output, teacher: Output) -> tuple[list[Tensor], list[Tensor]]:
        raw_ours = [feature_of("student", student, role) for role in self.student_roles]
        raw_theirs = [feature_of("teacher", teacher, role) for role in self.teacher_roles]
        ours, theirs = list(raw_ours), list(raw_theirs)
        for l, s in enumerate(raw_ours):
            for k, t in enumerate(raw_theirs):
                ours[l], theirs[k] = paired(s, t, self.student_channels[l], self.teacher_channels[k])
            if s.ndim != self.axes + 2 or s.shape[0] != self.batch_size:
                raise ValueError(
                    f"batch_size={self.batch_size} and axes={self.axes} were given a feature of shape "
                    f"{tuple(s.shape)}: the attention is built for one batch size, use drop_last=True"
                )
        return ours, theirs


def _embedding(batch_size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(batch_size, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))


def _embedded(embed: nn.Module, feature: Tensor) -> Tensor:
    flat = feature.flatten(1)
    return F.normalize(embed(flat @ flat.mT), dim=1)


def _projection(student_channels: int, teacher_channels: int, axes: int) -> nn.Sequential:
    conv, norm, middle = conv_of(axes), norm_of(axes), 2 * teacher_channels
    return nn.Sequential(
        conv(student_channels, middle, 1, bias=False),
        norm(middle),
        nn.ReLU(),
        conv(middle, middle, 3, padding=1, bias=False),
        norm(middle),
        nn.ReLU(),
        conv(middle, teacher_channels, 1, bias=False),
    )


def _smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average both maps down to the smaller size of each axis."""
    size = [min(axes) for axes in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    return pooled_to(student, size), pooled_to(teacher, size)
