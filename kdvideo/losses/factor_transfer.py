"""Factor transfer: the student's translated feature against the teacher's paraphrased one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdvideo._hints import kind
from kdvideo._numbers import check_numbers
from kdvideo._tensors import at_least_float32, matched
from kdvideo.losses._given import Given
from kdvideo.losses._parametric import (
    Frozen,
    OneLayerLoss,
    check_positive,
    conv_of,
    full_precision,
    norm_of,
    paired,
    transposed_of,
)
from kdvideo.losses.kinds import Roles


def factor_transfer(student: Tensor, teacher: Tensor, *, p: float = 1.0) -> Tensor:
    """Compute the p-norm of the difference between factors of length 1.

    L = 1/B Σ_i ‖f_i / ‖f_i‖₂ − g_i / ‖g_i‖₂‖_p, over all channels and positions of the factors f and g.

    Args:
        student: the student's factor, (B, ...).
        teacher: the teacher's factor, of the same shape.
        p: at least 1; 1 in the paper.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, p below 1, an empty batch, or integer tensors.

    Examples:
        >>> import torch
        >>> factor_transfer(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        tensor(2.)

    Source:
        Kim, Park, Kwak, "Paraphrasing Complex Network: Network Compression via Factor Transfer", NeurIPS 2018,
        arXiv 1802.04977, equation 2.
    """
    _check_p(p)
    student, teacher = matched(student, teacher)
    ours, theirs = F.normalize(student.flatten(1), dim=1), F.normalize(teacher.flatten(1), dim=1)
    norms: Tensor = torch.linalg.vector_norm(ours - theirs, ord=p, dim=1)
    return norms.mean()


class Paraphraser(nn.Module):
    """An autoencoder of the teacher's feature, whose code is the factor; train it before, without labels.

    Args:
        channels: of the teacher's feature.
        rate: k, factor channels for each channel of the feature; 0.5 in the paper.
        axes: of the maps, 1 to 3.

    Raises:
        ValueError: sizes that are not positive.

    Examples:
        >>> import torch
        >>> paraphraser = Paraphraser(8)
        >>> feature = torch.randn(2, 8, 7, 7)
        >>> paraphraser(feature).shape, paraphraser.reconstruction(feature).shape
        (torch.Size([2, 4, 7, 7]), torch.Size([]))
    """

    def __init__(self, channels: int, *, rate: float = 0.5, axes: int = 2) -> None:
        super().__init__()
        conv, back, norm = conv_of(axes), transposed_of(axes), norm_of(axes)
        check_positive(channels=channels, rate=rate)
        self.channels, self.axes = channels, axes
        self.factors = factors = max(round(rate * channels), 1)
        down = [(channels, channels), (channels, factors), (factors, factors)]
        up = [(factors, factors), (factors, channels), (channels, channels)]
        self.encoder = nn.Sequential(*(_layer(conv(*one, 3, padding=1), norm(one[1])) for one in down))
        self.decoder = nn.Sequential(*(_layer(back(*one, 3, padding=1), norm(one[1])) for one in up))

    def forward(self, feature: Tensor) -> Tensor:
        """Compute the factor, the code of the autoencoder.

        Args:
            feature: (B, C, ...), of the teacher.

        Returns:
            (B, rate · C, ...), of the same size.
        """
        factor: Tensor = self.encoder(feature)
        return factor

    def reconstruction(self, feature: Tensor) -> Tensor:
        """Compute the mean of (x − P(x))², which trains the paraphraser.

        Args:
            feature: x, (B, C, ...), of the teacher.

        Returns:
            A scalar.
        """
        feature = at_least_float32(feature)
        with full_precision(feature):
            return F.mse_loss(self.decoder(self.encoder(feature)), feature)


class FactorTransfer(OneLayerLoss):
    """Loss object for `factor_transfer`; its translator learns with the student, the paraphraser is frozen.

    The student needs no projector for its channels; a map of another size needs one (`kdvideo.projectors.pool`).

    Args:
        roles: the role of the layer, or one student's role: teacher's role.
        student_channels: of the student's feature.
        paraphraser: trained with `Paraphraser.reconstruction` on features of the teacher; a copy of it is frozen.
        p: as in `factor_transfer`.
        name: of the term; None: "factor_transfer[role]".

    Raises:
        ValueError: several roles, p below 1, another module than a `Paraphraser`; in forward, features with other
            channels, or factors of different size.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> criterion = FactorTransfer("4c", 4, Paraphraser(8))
        >>> student, teacher = (Output(None, {"4c": torch.randn(2, c, 7, 7)}) for c in (4, 8))
        >>> criterion(student, teacher).shape
        torch.Size([])
    """

    kind = "factor_transfer"

    def __init__(
        self, roles: Roles, student_channels: int, paraphraser: Paraphraser, *, p: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(roles, name=name)
        if not isinstance(paraphraser, Paraphraser):
            raise ValueError(f"paraphraser must be a Paraphraser, got {kind(paraphraser)}: train one first")
        check_positive(student_channels=student_channels)
        _check_p(p)
        self.p, self.channels = p, (student_channels, paraphraser.channels)
        self.paraphraser = Frozen(paraphraser)
        conv, norm, factors = conv_of(paraphraser.axes), norm_of(paraphraser.axes), paraphraser.factors
        widths = [(student_channels, student_channels), (student_channels, factors), (factors, factors)]
        self.translator = nn.Sequential(*(_layer(conv(*one, 3, padding=1), norm(one[1])) for one in widths))

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `factor_transfer` between the factors of both."""
        student, teacher = paired(student, teacher, *self.channels)
        with full_precision(student):
            ours, theirs = self.translator(student), self.paraphraser(teacher)
        return factor_transfer(ours, theirs, p=self.p)


def _check_p(p: float) -> None:
    check_numbers("finite and at least 1", lambda value: 1 <= value < float("inf"), p=p)


def _layer(conv: nn.Module, norm: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, norm, nn.LeakyReLU(0.1))
