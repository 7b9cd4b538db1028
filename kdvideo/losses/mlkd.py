"""The batch and class correlations of multi-level logit distillation."""

from __future__ import annotations

import torch
from torch import Tensor

from kdvideo._checks import check_temperature
from kdvideo.losses._given import Given
from kdvideo.losses._labels import check_weights
from kdvideo.losses._predictions import predictions
from kdvideo.losses.kinds import LogitLoss


def mlkd(
    student: Tensor,
    teacher: Tensor,
    *,
    batch_weight: float = 1.0,
    class_weight: float = 1.0,
    temperature: float = 4.0,
    dim: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Compute the squared error of the correlations between examples, and of those between classes.

    L = b · 1/N ‖QQᵀ − PPᵀ‖² + c · 1/K ‖QᵀQ − PᵀP‖², with the rows softmax(t / T) of P and softmax(s / T) of Q.
    The third, instance level of the paper is `soft_target`. The correlations grow with the batch, so parts of a batch
    do not add up to the whole.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1; every position is an example, and
            QQᵀ has N² entries.
        teacher: logits of the same shape.
        batch_weight: weight b ≥ 0 of the correlations between examples.
        class_weight: weight c ≥ 0 of the correlations between classes.
        temperature: T > 0. The paper adds several: a sum of such losses with names of their own.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: a negative weight, a temperature that is not positive, or tensors that `soft_target` refuses.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
        >>> mlkd(torch.zeros(2, 2), teacher, temperature=0.1)
        tensor(1.)

    Source:
        Jin, Wang, Lin, "Multi-Level Logit Distillation", CVPR 2023.
    """
    check_weights(batch_weight=batch_weight, class_weight=class_weight)
    q, p, keep = predictions(student, teacher, temperature, dim, mask)
    # Where the mask is False, both predictions are uniform, and so are their products with any other: the difference
    # is 0. Autocast would multiply in half precision.
    with torch.autocast(q.device.type, enabled=False):
        between_examples = (q @ q.T - p @ p.T).square().sum() / keep.sum().clamp(min=1)
        between_classes = (q.T @ q - p.T @ p).square().sum() / q.shape[1]
    return batch_weight * between_examples + class_weight * between_classes


class MLKD(LogitLoss):
    """Loss object for `mlkd` between the logits of two `Output`s; a `normalizer=` has no meaning here and raises.

    Args:
        batch_weight: weight ≥ 0 of the correlations between examples.
        class_weight: weight ≥ 0 of the correlations between classes.
        temperature: T > 0.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a negative weight or a temperature that is not positive; in forward, as `mlkd`, or an output
            without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 5), {})
        >>> MLKD()(same, same)
        tensor(0.)
    """

    name = "mlkd"

    def __init__(
        self,
        *,
        batch_weight: float = 1.0,
        class_weight: float = 1.0,
        temperature: float = 4.0,
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(dim=dim, name=name)
        check_weights(batch_weight=batch_weight, class_weight=class_weight)
        check_temperature(temperature)
        self.batch_weight, self.class_weight, self.temperature = batch_weight, class_weight, temperature

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `mlkd`."""
        return mlkd(
            student,
            teacher,
            batch_weight=self.batch_weight,
            class_weight=self.class_weight,
            temperature=self.temperature,
            dim=self.dim,
            mask=given.mask,
        )
