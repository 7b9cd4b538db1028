"""Several teachers for one student: their outputs side by side, and one prediction made of theirs.

Every teacher is called by the loop, as each may see another input; these functions take what they returned.
Legend: N teachers, B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._checks import any_seen, check_axis, check_temperature, checked_labels
from kdvideo._hints import kind
from kdvideo._tensors import at_least_float32
from kdvideo.features import Output

Weights = Sequence[float] | Tensor


def merge(outputs: Mapping[str, Output], *, logits: Tensor | None = None) -> Output:
    """Join the outputs of several teachers into one, for a criterion that learns from all of them.

    Args:
        outputs: name of a teacher -> its output.
        logits: what the merged output gives as logits, such as `mean_probabilities` of theirs.

    Returns:
        An `Output` whose features have the role "name/role", and whose `raw` is the dictionary of outputs, in which
        `FromTeacher(name, loss)` finds those of one teacher.

    Raises:
        ValueError: no mapping of Outputs, no output, or two features of one role "name/role".

    Examples:
        >>> flow, depth = (Output(torch.ones(2, 5), {"4c": torch.zeros(2, 8)}) for _ in range(2))
        >>> list(merge({"flow": flow, "depth": depth}).features)
        ['flow/4c', 'depth/4c']
    """
    if not isinstance(outputs, Mapping) or not all(hasattr(one, "features") for one in outputs.values()):
        raise ValueError(f'outputs must map names to Outputs, got {kind(outputs)}: {{"flow": teacher(flow)}}')
    if not outputs:
        raise ValueError("outputs must hold the output of at least one teacher, got none")
    roles = [f"{name}/{role}" for name, output in outputs.items() for role in output.features]
    twice = sorted({role for role in roles if roles.count(role) > 1})
    if twice:
        raise ValueError(f"roles of teachers must differ, got {twice} twice: give a teacher a name without '/'")
    features = {f"{name}/{role}": value for name, output in outputs.items() for role, value in output.features.items()}
    return Output(logits, features, dict(outputs))


def mean_logits(logits: Sequence[Tensor], *, weights: Weights | None = None) -> Tensor:
    """Compute the weighted mean of the logits of several teachers.

    t = Σ_n w_n t_n with Σ_n w_n = 1: up to a constant, the log of the weighted geometric mean of their probabilities.
    A teacher whose logits are larger counts more; `mean_probabilities` is the mean of what they predict.

    Args:
        logits: one tensor for each teacher, (B, K), or any other shape; all alike.
        weights: N numbers ≥ 0 or a tensor (N,); or one weight for each sample and teacher, (B, N). They are divided
            by their sum over the teachers. None: all equal.

    Returns:
        A tensor of the shape of the logits; float32, or float64 for float64.

    Raises:
        ValueError: no teacher, logits of different shapes, or weights of another shape, negative ones or all 0
            (looked at in lists, and in tensors on the CPU).

    Examples:
        >>> mean_logits([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 6.0]])], weights=[3, 1])
        tensor([[1.5000, 3.0000]])
    """
    logits = _matched(logits)
    total = torch.zeros_like(logits[0])
    # One by one: a stack would hold all of a large vocabulary's logits twice.
    for weight, values in zip(_normalized(weights, logits), logits, strict=True):
        total = total + weight * values
    return total


def mean_probabilities(
    logits: Sequence[Tensor], *, weights: Weights | None = None, temperature: float = 1.0, dim: int = 1
) -> Tensor:
    """Compute the logits of the weighted mean of the softened class probabilities of several teachers.

    t = T log Σ_n w_n softmax(t_n / T) with Σ_n w_n = 1,
    so that softmax(t / T) is the mean, as a loss with the same temperature uses it.

    Args:
        logits: one tensor for each teacher, (B, K), or (B, K, ...); all alike.
        weights: as in `mean_logits`.
        temperature: T > 0, that of the loss which follows.
        dim: the class axis: 1, or -1 for tokens.

    Returns:
        A tensor of the shape of the logits; float32, or float64 for float64.

    Raises:
        ValueError: as `mean_logits`, no such axis, or a temperature that is not positive.

    Examples:
        >>> teachers = [torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()]
        >>> mean_probabilities(teachers).softmax(1)
        tensor([[0.7000, 0.3000]])

    Source:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.
    """
    check_temperature(temperature)
    logits = _matched(logits)
    check_axis(logits[0], dim)
    total = torch.full_like(logits[0], -torch.inf)
    for weight, values in zip(_normalized(weights, logits), logits, strict=True):
        total = torch.logaddexp(total, weight.log() + F.log_softmax(values / temperature, dim))
    return total * temperature


def confidence_weights(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Compute the weights of several teachers for each sample from their error on it.

    w_n = 1 / (N - 1) · (1 - exp(CE_n) / Σ_m exp(CE_m)), CE_n the cross-entropy of teacher n; for N = 1 it is 1.

    Args:
        logits: one tensor (B, K) for each teacher.
        labels: the true classes, (B,).

    Returns:
        (B, N), each row of sum 1: `weights` of the means, or those of a loss for each teacher.

    Raises:
        ValueError: no teacher, logits that are not (B, K), or labels that are not (B,) integers from 0 to K - 1.

    Examples:
        >>> sure, unsure = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
        >>> confidence_weights([sure, unsure], torch.tensor([0]))
        tensor([[0.6626, 0.3374]])

    Source:
        Zhang, Chen, Wang, "Confidence-Aware Multi-Teacher Knowledge Distillation", 2022, arXiv 2201.00007.
    """
    logits = _matched(logits)
    if logits[0].ndim != 2:
        raise ValueError(f"logits must be (B, K) for each teacher, got {tuple(logits[0].shape)}")
    labels = checked_labels(labels, logits[0], 1, otherwise="leave its sample out").squeeze(1)
    errors = torch.stack([F.cross_entropy(values, labels, reduction="none") for values in logits], 1)
    if len(logits) == 1:
        return torch.ones_like(errors)
    return (1 - errors.softmax(1)) / (len(logits) - 1)


def _matched(logits: Sequence[Tensor]) -> list[Tensor]:
    if isinstance(logits, Tensor):
        raise ValueError("logits must be a list, one tensor for each teacher, got a Tensor: [flow_logits, rgb_logits]")
    for values in logits:
        if not isinstance(values, Tensor):
            raise ValueError(f"logits must be tensors, got {kind(values)}: pass output.logits of an Output")
    shapes = [tuple(values.shape) for values in logits]
    if not shapes or len(set(shapes)) > 1:
        raise ValueError(f"logits must be one tensor for each teacher, all of one shape, got the shapes {shapes}")
    return [at_least_float32(values) for values in logits]


def _normalized(weights: Weights | None, logits: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return one weight for each teacher that broadcasts to its logits."""
    number, first = len(logits), logits[0]
    if weights is None:
        weights = [1.0] * number
    if not isinstance(weights, Tensor):
        try:
            weights = torch.tensor(weights, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"weights must be numbers, or a tensor, got {kind(weights)}: [0.5, 0.5]") from error
    if weights.device.type == "cpu" and any_seen((weights < 0) | ~(weights.sum(-1, keepdim=True) > 0)):
        raise ValueError(f"weights must be numbers of at least 0, not all 0, got {weights.tolist()}: one for a teacher")
    if weights.shape not in ((number,), (first.shape[0], number)):
        expected = f"({number},) or {(first.shape[0], number)}"
        raise ValueError(f"weights must have the shape {expected}, for {number} teachers, got {tuple(weights.shape)}")
    weights = weights.to(first)
    weights = weights / weights.sum(-1, keepdim=True)
    return [weight.reshape(-1, *[1] * (first.ndim - 1)) for weight in weights.unbind(-1)]
