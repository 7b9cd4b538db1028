"""The losses with parameters as loops over numbers, in float64, written down from the papers and from nothing else."""

import math

import numpy as np


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


def vid(student: np.ndarray, teacher: np.ndarray, scale: np.ndarray, eps: float, sum_channels: bool = False) -> float:
    """VID, equations 5 and 6: log σ_c + (t − μ)²/2σ_c², σ_c² = log(1 + exp(α_c)) + ε."""
    batch, channels, *size = student.shape
    total, positions = 0.0, 0
    for i in range(batch):
        for position in np.ndindex(*size):
            value = 0.0
            for c in range(channels):
                variance = softplus(scale[c]) + eps
                difference = teacher[i, c][position] - student[i, c][position]
                value += math.log(math.sqrt(variance)) + difference**2 / (2 * variance)
            total += value if sum_channels else value / channels
            positions += 1
    return total / positions


def conv(feature: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """A convolution of one example (C, ...) with zero padding that keeps the size; odd kernels."""
    size = feature.shape[1:]
    out = np.zeros((weight.shape[0], *size))
    for o in range(weight.shape[0]):
        for position in np.ndindex(*size):
            value = 0.0 if bias is None else bias[o]
            for c in range(weight.shape[1]):
                for tap in np.ndindex(*weight.shape[2:]):
                    at = tuple(p + k - n // 2 for p, k, n in zip(position, tap, weight.shape[2:], strict=True))
                    if all(0 <= a < n for a, n in zip(at, size, strict=True)):
                        value += weight[o, c][tap] * feature[c][at]
            out[o][position] = value
    return out


def mgd(student: np.ndarray, teacher: np.ndarray, keep: np.ndarray, weights: list[np.ndarray]) -> float:
    """MGD, equations 2 to 4: Σ (T − W₂(ReLU(W₁(S · M))))², of the mean example."""
    first, first_bias, second, second_bias = weights
    total = 0.0
    for s, t, m in zip(student, teacher, np.broadcast_to(keep, student.shape), strict=True):
        hidden = conv(s * m, first, first_bias)
        for place in np.ndindex(*hidden.shape):
            hidden[place] = max(hidden[place], 0.0)
        generated = conv(hidden, second, second_bias)
        total += sum((t[place] - generated[place]) ** 2 for place in np.ndindex(*t.shape))
    return total / len(student)


def simkd(student: np.ndarray, teacher: np.ndarray) -> float:
    """SimKD, equation 3: ‖f_t − P(f_s)‖², the mean over its elements."""
    places = list(np.ndindex(*student.shape))
    return sum((teacher[place] - student[place]) ** 2 for place in places) / len(places)


def unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in vector))
    return [x / length for x in vector]


def affine(vector: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> list[float]:
    return [sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def crd(
    student: np.ndarray,
    teacher: np.ndarray,
    student_negatives: np.ndarray,
    teacher_negatives: np.ndarray,
    samples: int,
    temperature: float,
    constant: float = 1.0,
) -> float:
    """CRD, section 3.1: h(T, S) = e^{g·g/τ} / (e^{g·g/τ} + N/M); −log h of the pair, −log(1 − h) of each other pair."""
    noise = student_negatives.shape[1] / samples

    def critic(u: np.ndarray, v: np.ndarray) -> float:
        score = math.exp(sum(a * b for a, b in zip(u, v, strict=True)) / temperature) / constant
        return score / (score + noise)

    total = 0.0
    for s, t, ours, theirs in zip(student, teacher, student_negatives, teacher_negatives, strict=True):
        for anchor, other, negatives in ((s, t, theirs), (t, s, ours)):
            total -= math.log(critic(anchor, other))
            total -= sum(math.log(1 - critic(anchor, one)) for one in negatives)
    return total / len(student)
