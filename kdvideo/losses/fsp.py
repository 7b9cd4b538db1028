"""Flow of solution procedure: the inner products between the channels of two layers."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from kdvideo._hints import kind
from kdvideo.features import Output
from kdvideo.losses._given import Given
from kdvideo.losses._relations import channel_maps, check_dim, paired, product
from kdvideo.losses.base import Loss
from kdvideo.losses.kinds import feature_of

Layers = tuple[Tensor, Tensor]


def fsp(student: Layers, teacher: Layers, *, dim: int = 1) -> Tensor:
    """Compute the squared difference between the Gram matrices of two layers.

    L = 1/B Σ_b ‖G(s_b) − G(t_b)‖²_F, with G_ij = 1/P Σ_p F¹_ip F²_jp of one layer's channel i and the other's j.

    Args:
        student: the features of two layers, (B, C, ...) and (B, D, ...), of the same positions.
        teacher: the same of the teacher: the same batch, C and D; the number of positions may differ.
        dim: the channel axis: 1, or -1 for tokens (B, N, C).

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a tensor, or not two, in the place of two layers, another batch or other channels, two layers of a
            network with different positions, no element, integer tensors, or a `dim` that is no such axis.

    Examples:
        >>> import torch
        >>> student = torch.ones(2, 3, 4, 4), torch.ones(2, 5, 4, 4)
        >>> teacher = torch.ones(2, 3, 8, 8), torch.ones(2, 5, 8, 8)
        >>> fsp(student, teacher).item()
        0.0

    Source:
        Yim, Joo, Bae, Kim, "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer
        Learning", CVPR 2017, equations 1 and 2.
    """
    if isinstance(student, Tensor) or isinstance(teacher, Tensor):
        raise ValueError(
            f"fsp must be given two layers of each network, got {kind(student)} and {kind(teacher)}: "
            "fsp((first, second), (first, second))"
        )
    if len(student) != 2 or len(teacher) != 2:
        raise ValueError(f"fsp compares two layers of each network, got {len(student)} and {len(teacher)}")
    pairs = [_paired_layer(ours, theirs, dim) for ours, theirs in zip(student, teacher, strict=True)]
    ours, theirs = (_flow((pairs[0][k], pairs[1][k]), who, dim) for k, who in enumerate(("student", "teacher")))
    return F.mse_loss(ours, theirs, reduction="sum") / len(ours)


def _paired_layer(student: Tensor, teacher: Tensor, dim: int) -> Layers:
    check_dim(student, dim)
    check_dim(teacher, dim)
    return paired(
        student,
        teacher,
        agree="the batch, the channels and the number of axes",
        axes=lambda shape: (shape[0], shape[dim], len(shape)),
    )


def _flow(layers: Layers, who: str, dim: int) -> Tensor:
    first, second = (layer.movedim(dim, 1) for layer in layers)
    if (first.shape[0], *first.shape[2:]) != (second.shape[0], *second.shape[2:]):
        raise ValueError(
            f"the two layers of the {who} must have the same batch and positions, got {tuple(layers[0].shape)} and "
            f"{tuple(layers[1].shape)}: pool the larger one, or take the first and last layer of one stage"
        )
    first, second = (channel_maps(layer, dim) for layer in layers)
    return product(first, second.mT) / first.shape[-1]


class FSP(Loss):
    """Loss object for `fsp` between two layers of each network, by their roles.

    Takes no mask: padded positions that are not 0 count.

    Args:
        first: the role of the earlier layer.
        second: the role of the later layer, which must have the same positions.
        dim: the channel axis.
        name: of the term; None: "fsp[first,second]".

    Raises:
        ValueError: in forward, as `fsp`, or an output without one of the roles.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(None, {"2a": torch.ones(2, 3, 4, 4), "2c": torch.ones(2, 5, 4, 4)})
        >>> FSP("2a", "2c").terms(same, same)
        {'fsp[2a,2c]': tensor(0.)}
    """

    def __init__(self, first: str, second: str, *, dim: int = 1, name: str | None = None) -> None:
        super().__init__(name=name or f"fsp[{first},{second}]")
        self.roles, self.dim = (first, second), dim

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute `fsp` on the features of both roles."""
        first, second = self.roles
        ours = feature_of("student", student, first), feature_of("student", student, second)
        theirs = feature_of("teacher", teacher, first), feature_of("teacher", teacher, second)
        return fsp(ours, theirs, dim=self.dim)
