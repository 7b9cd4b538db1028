"""The losses as loops over numbers, in float64, written down from the papers and from nothing else."""

import math

import numpy as np


def logit_mse(student: np.ndarray, teacher: np.ndarray, divide_by_classes: bool = True) -> float:
    """D3D, equation 2: 1/N Σ_i (f_s(x_i) − f_t(x_i))²; the mean over classes is our default."""
    examples, classes = student.shape
    total = 0.0
    for i in range(examples):
        square = sum((student[i, k] - teacher[i, k]) ** 2 for k in range(classes))
        total += square / classes if divide_by_classes else square
    return total / examples


def softened(logits: np.ndarray, temperature: float) -> list[float]:
    """Hinton et al., equation 1: q_k = exp(z_k / T) / Σ_j exp(z_j / T)."""
    largest = max(logits)
    weights = [math.exp((z - largest) / temperature) for z in logits]
    return [weight / sum(weights) for weight in weights]


def soft_target(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """Hinton et al., section 2.1: cross-entropy with the soft targets times T², less their entropy."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p, q = softened(t, temperature), softened(s, temperature)
        total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)
    return temperature**2 * total / len(student)


def feature_mse(student: np.ndarray, teacher: np.ndarray, divide_by_channels: bool = True) -> float:
    """FitNets, equation 3, without its factor 1/2: the mean over positions of ‖u − r(v)‖²."""
    batch, channels, *size = student.shape
    total, positions = 0.0, 0
    for i in range(batch):
        for position in np.ndindex(*size):
            square = sum((student[i, c][position] - teacher[i, c][position]) ** 2 for c in range(channels))
            total += square / channels if divide_by_channels else square
            positions += 1
    return total / positions
