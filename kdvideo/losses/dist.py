"""Distillation from a stronger teacher: correlations of the predictions instead of their equality."""

from __future__ import annotations

from torch import Tensor

from kdvideo._checks import check_temperature
from kdvideo.losses._given import Given
from kdvideo.losses._labels import check_weights
from kdvideo.losses._predictions import correlation_distance, predictions
from kdvideo.losses.kinds import LogitLoss


def dist(
    student: Tensor,
    teacher: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    dim: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Compute how far the predictions are from correlated, within each example and within each class.

    L = β · 1/N Σ_i (1 − ρ(q_i·, p_i·)) + γ · 1/K Σ_k (1 − ρ(q_·k, p_·k)), with p = softmax(t / T), q = softmax(s / T)
    and Pearson's correlation ρ. The second term compares the examples of the batch with each other, so parts of a
    batch do not add up to the whole. Where the teacher's vector is constant, the distance is 0; where only the
    student's is, it is 1 without gradient.

    Args:
        student: logits, (B, K), or (B, K, ...) with the classes on axis 1; every position is an example.
        teacher: logits of the same shape.
        beta: weight β ≥ 0 of the term within examples (inter-class); 1 in the paper.
        gamma: weight γ ≥ 0 of the term within classes (intra-class); 1 in the paper.
        temperature: T > 0; 1 on ImageNet, 4 on CIFAR-100.
        dim: the class axis: 1, or -1 for tokens (B, N, K).
        mask: bool or 0 and 1, one for each position: where it counts.

    Returns:
        A scalar; float32, or float64 for float64.

    Raises:
        ValueError: one example and γ > 0, a negative weight, a temperature that is not positive, or tensors that
            `soft_target` refuses.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> dist(teacher.flip(1), teacher)  # correlation -1 everywhere
        tensor(4.)

    Source:
        Huang, You, Wang, Qian, Xu, "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022,
        arXiv 2205.10536.
    """
    check_weights(beta=beta, gamma=gamma)
    q, p, keep = predictions(student, teacher, temperature, dim, mask)
    if gamma and len(q) < 2:
        raise ValueError(
            "gamma must be 0 for a batch of 1, which has no correlation within a class: pass more examples, or gamma=0"
        )
    inter = correlation_distance(q, p, keep.new_ones(()), 1)
    intra = correlation_distance(q, p, keep, 0)
    # Where the mask is False, both predictions are uniform, and their distance is 0.
    return beta * inter.sum() / keep.sum().clamp(min=1) + gamma * intra.mean()


class DIST(LogitLoss):
    """Loss object for `dist` between the logits of two `Output`s; a `normalizer=` has no meaning here and raises.

    Args:
        beta: weight β ≥ 0 of the term within examples.
        gamma: weight γ ≥ 0 of the term within classes.
        temperature: T > 0.
        dim: the class axis.
        name: of the term.

    Raises:
        ValueError: a negative weight or a temperature that is not positive; in forward, as `dist`, or an output
            without logits.

    Examples:
        >>> import torch
        >>> from kdvideo import Output
        >>> same = Output(torch.ones(2, 5), {})
        >>> DIST()(same, same)
        tensor(0.)
    """

    name = "dist"

    def __init__(
        self,
        *,
        beta: float = 1.0,
        gamma: float = 1.0,
        temperature: float = 1.0,
        dim: int = 1,
        name: str | None = None,
    ) -> None:
        super().__init__(dim=dim, name=name)
        check_weights(beta=beta, gamma=gamma)
        check_temperature(temperature)
        self.beta, self.gamma, self.temperature = beta, gamma, temperature

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute `dist`."""
        return dist(
            student,
            teacher,
            beta=self.beta,
            gamma=self.gamma,
            temperature=self.temperature,
            dim=self.dim,
            mask=given.mask,
        )
