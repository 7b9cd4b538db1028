"""Channel-wise distillation: where each channel of a dense feature or logit map looks."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import check_temperature
from kdvideo._tensors import matched, over_positions
from kdvideo.losses._given import Given
from kdvideo.losses._relations import channel_maps, check_dim, check_positions
from kdvideo.losses.kinds import FeatureLoss, Roles
from kdvideo.losses.soft_target import kl_elements


def cwd(
    student: Tensor, teacher: Tensor, *, temperature: float = 4.0, dim: int = 1, mask: Tensor | None = None
) -> Tensor:
    """Compute the KL divergence between the positions' probabilities of each channel.

    L = T² · mean over samples and channels of Σ_p φ(t)_p log(φ(t)_p / φ(s)_p), with φ the softmax of a
    channel's map over its positions, divided by T.

    Args:
        student: feature or logits, (B, C, H, W) or any (B, C, ...) with at least 2 positions.
        teacher: the same of the teacher, of the same shape.
        temperature: T > 0; 4 in the paper.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).
        mask: bool or 0 and 1, one for each position: those that the softmax sees. A sample without any is left out.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, a single position, a temperature that is not positive, a mask of another shape,
            an empty batch, integer tensors, or a `dim` that is no such axis.

    Examples:
        >>> import torch
        >>> student = torch.zeros(2, 8, 4, 4)
        >>> cwd(student, student + 7).item()
        0.0

    Source:
        Shu, Liu, Gao, Yan, Shen, "Channel-Wise Knowledge Distillation for Dense Prediction", ICCV 2021,
        arXiv 2011.13256.
    """
    check_temperature(temperature)
    student, teacher = matched(student, teacher, dim=dim, mask=mask)
    check_dim(student, dim)
    check_positions(student, dim)
    student, teacher = channel_maps(student, dim) / temperature, channel_maps(teacher, dim) / temperature
    if mask is None:
        return kl_elements(student, teacher, -1).sum(-1).mean() * temperature**2
    keep = mask.flatten(1).bool()
    some = keep.any(1)
    # A softmax over nothing is nan: samples without a position keep all, and are left out of the mean.
    hidden = ~(keep | ~some[:, None])[:, None]
    student, teacher = student.masked_fill(hidden, -torch.inf), teacher.masked_fill(hidden, -torch.inf)
    return over_positions(kl_elements(student, teacher, -1).sum(-1).mean(1), some) * temperature**2


class CWD(FeatureLoss):
    """Loss object for `cwd` between dense features; `Student` holds a projector where one is needed.

    A `normalizer=` has no meaning here and raises ValueError.

    Args:
        roles: of the layers; several, whose losses are added up; or a mapping from the student's to the teacher's.
        temperature: as in `cwd`.
        dim: the channel axis.
        masked: whether the mask of a call holds for these features; their positions must then have its shape.
        name: of the term; None: "cwd[roles]".

    Raises:
        ValueError: no role, or a set of them; a temperature that is not positive; in forward, as `cwd`, or an output
            without that role.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"4c": torch.ones(2, 8, 4, 7, 7)})
        >>> CWD("4c")(same, same)
        tensor(0.)
    """

    kind = "cwd"

    def __init__(
        self,
        roles: Roles,
        *,
        temperature: float = 4.0,
        dim: int = 1,
        masked: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(roles, masked=masked, name=name)
        check_temperature(temperature)
        self.temperature, self.dim = temperature, dim

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `cwd`."""
        return cwd(student, teacher, temperature=self.temperature, dim=self.dim, mask=given.mask)
