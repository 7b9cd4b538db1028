"""Mean squared error between the logits: the distillation loss of D3D."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import Reduction, check_reduction
from kdvideo._tensors import matched, squared_error, without_excluded
from kdvideo.losses._given import Given
from kdvideo.losses.kinds import LogitLoss


def logit_mse(
    student: Tensor,
    teacher: Tensor,
    *,
    reduction: Reduction = "mean",
    dim: int = 1,
    mask: Tensor | None = None,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Compute the squared error between the pre-softmax logits of student and teacher.

    L = 1/N Σ_i ‖s_i − t_i‖², equation 2 of the paper, with the squared norm summed or averaged over classes.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape; carries no gradient when it comes from `Teacher`.
        reduction: over the class axis; the rest is averaged. "mean", our default, divides by K; "sum" is
            the squared norm; the paper leaves this open, and the two differ K-fold in the weight λ.
            "none" reduces nothing and returns every squared difference, in the shape of the logits.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position (the shape without the class axis): where it counts.
        normalizer: what the sum over valid positions is divided by; None: their number.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, an empty batch, integer tensors, an unknown reduction, a `dim` that is no such
            axis, a mask of another shape, or a normalizer that is not positive.

    Examples:
        >>> import torch
        >>> logit_mse(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
        tensor(2.5000)
        >>> logit_mse(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]), reduction="sum")
        tensor(5.)

    Source:
        Stroud, Ross, Sun, Deng, Sukthankar, "D3D: Distilled 3D Networks for Video Action Recognition",
        2020, arXiv 1812.08249. Matching logits by their squared error goes back to Ba and Caruana, 2014,
        arXiv 1312.6184.
    """
    student, teacher = without_excluded(*matched(student, teacher, dim=dim, mask=mask))
    return squared_error(student, teacher, reduction, dim=dim, mask=mask, normalizer=normalizer)


class LogitMSE(LogitLoss):
    """Loss object for `logit_mse` between the logits of two `Output`s; its weight in D3D is λ = 1.

    Args:
        reduction: as in `logit_mse`.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: an unknown reduction; in forward, as `logit_mse`, or an output without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> student, teacher = Output(torch.ones(2, 5), {}), Output(torch.zeros(2, 5), {})
        >>> LogitMSE()(student, teacher)
        tensor(1.)
    """

    name = "logit_mse"

    def __init__(self, *, reduction: Reduction = "mean", dim: int = 1, name: str | None = None) -> None:
        super().__init__(dim=dim, name=name)
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        self.axis_matters = reduction != "mean"

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `logit_mse`."""
        return logit_mse(
            student,
            teacher,
            reduction=self.reduction,
            dim=self.dim,
            mask=given.mask,
            normalizer=given.normalizer,
        )
