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


def batch_norm(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Batch norm with the statistics of the batch."""
    out = np.zeros_like(features)
    for c in range(features.shape[1]):
        values = [float(x) for x in features[:, c].reshape(-1)]
        mean = sum(values) / len(values)
        variance = sum((x - mean) ** 2 for x in values) / len(values)
        for place in np.ndindex(*features[:, c].shape):
            out[:, c][place] = (features[:, c][place] - mean) / math.sqrt(variance + 1e-5) * weight[c] + bias[c]
    return out


def nearest(feature: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Nearest neighbors of one example (C, ...)."""
    out = np.zeros((len(feature), *size))
    for c in range(len(feature)):
        for place in np.ndindex(*size):
            at = tuple(p * n // m for p, n, m in zip(place, feature.shape[1:], size, strict=True))
            out[c][place] = feature[c][at]
    return out


def cell_means(feature: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """Means of (C, ...) over cells; cell k of n on an axis of length m is from ⌊k m / n⌋ to ⌈(k + 1) m / n⌉."""
    out = np.zeros((len(feature), *cells))
    for c in range(len(feature)):
        for cell in np.ndindex(*cells):
            ranges = [
                range(k * m // n, math.ceil((k + 1) * m / n))
                for k, n, m in zip(cell, cells, feature.shape[1:], strict=True)
            ]
            inside = [
                feature[c][p]
                for p in np.ndindex(*feature.shape[1:])
                if all(a in r for a, r in zip(p, ranges, strict=True))
            ]
            out[c][cell] = sum(inside) / len(inside)
    return out


def hcl(student: np.ndarray, teacher: np.ndarray, levels: tuple[int, ...] = (4, 2, 1)) -> float:
    """ReviewKD, section 3.3: L2 distances of the maps and of their pyramid pools, with weights 1, 1/2, 1/4, ..."""
    size = student.shape[2:]
    pools: list[tuple[int, ...]] = [size]
    pools += [tuple(min(level, n) for n in size) for level in levels if level < max(size)]
    total, weights = 0.0, 0.0
    for k, cells in enumerate(pools):
        squares = []
        for s, t in zip(student, teacher, strict=True):
            difference = cell_means(s, cells) - cell_means(t, cells)
            squares += [float(x) ** 2 for x in difference.reshape(-1)]
        total += 0.5**k * sum(squares) / len(squares)
        weights += 0.5**k
    return total / weights


def review_kd(students: list[np.ndarray], teachers: list[np.ndarray], stages: list[dict[str, np.ndarray]]) -> float:
    """ReviewKD, figures 2 and 3: from the last stage to the first, attention between a stage and the later ones."""
    total, later = 0.0, None
    for student, teacher, stage in reversed(list(zip(students, teachers, stages, strict=True))):
        fused = np.stack([conv(one, stage["narrow.0.weight"], None) for one in student])
        fused = batch_norm(fused, stage["narrow.1.weight"], stage["narrow.1.bias"])
        if later is not None:
            for i in range(len(fused)):
                other = nearest(later[i], fused.shape[2:])
                scores = conv(np.concatenate([fused[i], other]), stage["attend.0.weight"], stage["attend.0.bias"])
                for place in np.ndindex(*fused.shape[2:]):
                    ours, theirs = (1 / (1 + math.exp(-scores[k][place])) for k in range(2))
                    for c in range(fused.shape[1]):
                        fused[i, c][place] = ours * fused[i, c][place] + theirs * other[c][place]
        fused = np.stack([nearest(one, teacher.shape[2:]) for one in fused])
        wide = np.stack([conv(one, stage["widen.0.weight"], None) for one in fused])
        total += hcl(batch_norm(wide, stage["widen.1.weight"], stage["widen.1.bias"]), teacher)
        later = fused
    return total


def ofd(student: np.ndarray, teacher: np.ndarray, margin: np.ndarray) -> float:
    """OFD, equations 2 and 4: σ_m(t) = max(t, m); d = 0 if s ≤ σ_m(t) ≤ 0, else (σ_m(t) − s)²; sum of an example."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        for c in range(len(s)):
            for place in np.ndindex(*s.shape[1:]):
                target = max(t[c][place], margin[c])
                if not s[c][place] <= target <= 0:
                    total += (target - s[c][place]) ** 2
    return total / len(student)


def factor_transfer(student: np.ndarray, teacher: np.ndarray, p: float = 1.0) -> float:
    """FT, equation 2: ‖F_T/‖F_T‖₂ − F_S/‖F_S‖₂‖_p, the mean over the batch."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        ours, theirs = unit([float(x) for x in s.reshape(-1)]), unit([float(x) for x in t.reshape(-1)])
        total += sum(abs(a - b) ** p for a, b in zip(ours, theirs, strict=True)) ** (1 / p)
    return total / len(student)


def position_mean(feature: np.ndarray) -> np.ndarray:
    return np.array([[sum(float(x) for x in channel.reshape(-1)) / channel.size for channel in one] for one in feature])


def srrl(student: np.ndarray, teacher: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> float:
    """SRRL, L_FM = ‖h_T − h_S‖² and L_SR = ‖W(h_T) − W(h_S)‖², each the mean over its elements."""
    h_s, h_t = position_mean(student), position_mean(teacher)
    features, logits = 0.0, 0.0
    for s, t in zip(h_s, h_t, strict=True):
        features += sum((a - b) ** 2 for a, b in zip(t, s, strict=True)) / len(s)
        ours, theirs = affine(s, weight, bias), affine(t, weight, bias)
        logits += sum((a - b) ** 2 for a, b in zip(theirs, ours, strict=True)) / len(ours)
    return (features + logits) / len(student)


def sem_ckd(
    students: list[np.ndarray], teachers: list[np.ndarray], attention: np.ndarray, projections: list[list[list]]
) -> float:
    """SemCKD, its weighted sum: Σ_l Σ_k α_lk ‖t_k − Proj(s_l)‖², the mean over elements, examples and layers l."""
    total = 0.0
    for l, student in enumerate(students):
        for k, teacher in enumerate(teachers):
            size = tuple(min(a, b) for a, b in zip(student.shape[2:], teacher.shape[2:], strict=True))
            hidden = np.stack([cell_means(one, size) for one in student])
            for weight, *norm in projections[l][k]:
                hidden = np.stack([conv(one, weight, None) for one in hidden])
                if norm:
                    hidden = np.maximum(batch_norm(hidden, *norm), 0)
            for i, one in enumerate(teacher):
                squares = [float(x) ** 2 for x in (cell_means(one, size) - hidden[i]).reshape(-1)]
                total += attention[i, l, k] * sum(squares) / len(squares)
    return total / (len(students[0]) * len(students))


def sem_ckd_attention(students: list[np.ndarray], teachers: list[np.ndarray], queries: list, keys: list) -> np.ndarray:
    """SemCKD: the softmax over the teacher's layers of q · k, each from a row of the similarity matrix of the batch."""

    def embedded(features: np.ndarray, i: int, weights: list[np.ndarray]) -> list[float]:
        flat = [[float(x) for x in one.reshape(-1)] for one in features]
        row = np.array([sum(a * b for a, b in zip(flat[i], other, strict=True)) for other in flat])
        hidden = np.array([max(x, 0.0) for x in affine(row, *weights[:2])])
        return unit(affine(hidden, *weights[2:]))

    attention = np.zeros((len(students[0]), len(students), len(teachers)))
    for i in range(len(students[0])):
        for l, student in enumerate(students):
            q = embedded(student, i, queries[l])
            scores = []
            for teacher, key in zip(teachers, keys, strict=True):
                scores.append(math.exp(sum(a * b for a, b in zip(q, embedded(teacher, i, key), strict=True))))
            attention[i, l] = [score / sum(scores) for score in scores]
    return attention
