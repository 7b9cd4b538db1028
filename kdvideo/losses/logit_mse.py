"""Mean squared error between the logits: the distillation loss of D3D."""

from __future__ import annotations

from torch import Tensor

from kdvideo.features import Output
from kdvideo.losses._outputs import logits_of
from kdvideo.losses._tensors import Reduction, check_reduction, squared_error
from kdvideo.losses.base import Loss


def logit_mse(student: Tensor, teacher: Tensor, *, reduction: Reduction = "mean") -> Tensor:
    """Compute the squared error between the pre-softmax logits of student and teacher.

    L = 1/N Σ_i ‖s_i − t_i‖², equation 2 of the paper, with the squared norm summed or averaged over classes.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1.
        teacher: logits of the same shape; carries no gradient when it comes from `Teacher`.
        reduction: over the class axis; the rest is averaged. "mean", our default, divides by K; "sum" is
            the squared norm; the paper leaves this open, and the two differ K-fold in the weight λ.
            "none" reduces nothing and returns every squared difference, in the shape of the logits.

    Returns:
        A scalar, or with "none" a tensor of the shape of the logits; float32, or float64 for float64.

    Raises:
        ValueError: shapes that differ, an empty batch, integer tensors, or an unknown reduction.

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
    return squared_error(student, teacher, reduction)


class LogitMSE(Loss):
    """Loss object for `logit_mse` between the logits of two `Output`s; its weight in D3D is λ = 1.

    Args:
        reduction: as in `logit_mse`.

    Raises:
        ValueError: an unknown reduction; in forward, as `logit_mse`, or an output without logits.

    Examples:
        >>> import torch
        >>> student, teacher = Output(torch.ones(2, 5), {}), Output(torch.zeros(2, 5), {})
        >>> LogitMSE()(student, teacher)
        tensor(1.)
    """

    name = "logit_mse"

    def __init__(self, *, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction

    def forward(self, student: Output, teacher: Output, *, step: int | None = None) -> Tensor:
        """Compute the loss; `step` is not used."""
        return logit_mse(*logits_of(student, teacher), reduction=self.reduction)
