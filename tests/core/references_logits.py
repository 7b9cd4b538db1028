"""The losses of image classification as loops over numbers, in float64, from the papers' equations."""

import math

import numpy as np


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    weights = [math.exp((z - max(logits)) / temperature) for z in logits]
    return [weight / sum(weights) for weight in weights]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def examples(student: np.ndarray, teacher: np.ndarray) -> list[tuple[list[float], list[float]]]:
    return [([float(z) for z in s], [float(z) for z in t]) for s, t in zip(student, teacher, strict=True)]


def dkd(
    student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, alpha: float, beta: float, temperature: float
) -> float:
    """Zhao et al., equations 1 to 7: b = (p_t, p_\\t), and p̂_i = p_i / p_\\t for i ≠ t."""
    total = 0.0
    for (s, t), y in zip(examples(student, teacher), labels, strict=True):
        p, q = softmax(t, temperature), softmax(s, temperature)
        p_rest, q_rest = (sum(r[k] for k in range(len(r)) if k != y) for r in (p, q))
        target = p[y] * math.log(p[y] / q[y]) + p_rest * math.log(p_rest / q_rest)
        others = 0.0
        for k in range(len(p)):
            if k != y:
                others += p[k] / p_rest * math.log((p[k] / p_rest) / (q[k] / q_rest))
        total += alpha * target + beta * others
    return temperature**2 * total / len(student)


def nkd(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, gamma: float, temperature: float) -> float:
    """Yang et al.: −T_t log S_t − γ λ² Σ_{i≠t} N(T_i^λ) log N(S_i^λ)."""
    total = 0.0
    for (s, t), y in zip(examples(student, teacher), labels, strict=True):
        total -= softmax(t)[y] * math.log(softmax(s)[y])
        p, q = softmax(t, temperature), softmax(s, temperature)
        for k in range(len(p)):
            if k != y:
                total -= gamma * temperature**2 * p[k] / (1 - p[y]) * math.log(q[k] / (1 - q[y]))
    return total / len(student)


def pearson(u: list[float], v: list[float]) -> float:
    """Huang et al., equation 4: Cov(u, v) / (Std(u) Std(v))."""
    mean_u, mean_v = sum(u) / len(u), sum(v) / len(v)
    covariance = sum((a - mean_u) * (b - mean_v) for a, b in zip(u, v, strict=True))
    spread_u, spread_v = (sum((x - m) ** 2 for x in w) for w, m in ((u, mean_u), (v, mean_v)))
    return covariance / math.sqrt(spread_u * spread_v)


def dist(student: np.ndarray, teacher: np.ndarray, beta: float, gamma: float, temperature: float) -> float:
    """Huang et al., equations 7 to 10, without the loss of the labels."""
    q, p = ([softmax(row, temperature) for row in rows] for rows in zip(*examples(student, teacher), strict=True))
    classes = range(len(p[0]))
    inter = sum(1 - pearson(a, b) for a, b in zip(q, p, strict=True)) / len(p)
    intra = sum(1 - pearson([a[k] for a in q], [b[k] for b in p]) for k in classes) / len(classes)
    return beta * inter + gamma * intra


def mlkd(student: np.ndarray, teacher: np.ndarray, batch: float, classes: float, temperature: float) -> float:
    """Jin et al.: 1/B ‖M_stu − M_tea‖² of M_ab = Σ_j p_aj p_bj, and 1/C ‖ ‖² of M_jk = Σ_a p_aj p_ak."""
    q, p = ([softmax(row, temperature) for row in rows] for rows in zip(*examples(student, teacher), strict=True))
    rows, columns = range(len(p)), range(len(p[0]))
    between_rows = between_columns = 0.0
    for a in rows:
        for b in rows:
            between_rows += sum(q[a][j] * q[b][j] - p[a][j] * p[b][j] for j in columns) ** 2
    for j in columns:
        for k in columns:
            between_columns += sum(q[a][j] * q[a][k] - p[a][j] * p[a][k] for a in rows) ** 2
    return batch * between_rows / len(rows) + classes * between_columns / len(columns)


def standardized(logits: list[float]) -> list[float]:
    """Sun et al., algorithm of the z-score: the mean and the standard deviation divide by K."""
    mean = sum(logits) / len(logits)
    deviation = math.sqrt(sum((z - mean) ** 2 for z in logits) / len(logits))
    return [(z - mean) / (deviation + 1e-7) for z in logits]


def soft_target(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    total = sum(kl(softmax(t, temperature), softmax(s, temperature)) for s, t in examples(student, teacher))
    return temperature**2 * total / len(student)


def standardized_soft_target(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    s, t = (np.array([standardized(row) for row in rows]) for rows in zip(*examples(student, teacher), strict=True))
    return soft_target(s, t, temperature)


def ctkd(student: np.ndarray, teacher: np.ndarray, theta: float, start: float, span: float) -> float:
    """Li et al.: τ = τ_init + τ_range · sigmoid(θ), and τ² KL."""
    return soft_target(student, teacher, start + span / (1 + math.exp(-theta)))


def wsld(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Zhou et al.: (1 − exp(−L_ce^s / L_ce^t)) L_kd, where L_kd is the cross-entropy less the teacher's entropy."""
    total = 0.0
    for (s, t), y in zip(examples(student, teacher), labels, strict=True):
        weight = 1 - math.exp(-math.log(softmax(s)[y]) / math.log(softmax(t)[y]))
        p, q = softmax(t, temperature), softmax(s, temperature)
        cross_entropy = -sum(a * math.log(b) for a, b in zip(p, q, strict=True))
        entropy = -sum(a * math.log(a) for a in p)
        total += weight * (cross_entropy - entropy)
    return temperature**2 * total / len(student)


def ttm(student: np.ndarray, teacher: np.ndarray, gamma: float, weighted: bool = False) -> float:
    """Zheng and Yang: D(p^t_T ‖ q) with p^t_T = p^γ / Σ_j p_j^γ, weighted by U_γ(p) = Σ_j p_j^γ."""
    total = 0.0
    for s, t in examples(student, teacher):
        powers = [a**gamma for a in softmax(t)]
        divergence = kl([power / sum(powers) for power in powers], softmax(s))
        total += sum(powers) * divergence if weighted else divergence
    return total / len(student)


def ofa(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, gamma: float) -> float:
    """Hao et al., equation 6: −(1 + p_ĉ)^γ log p^s_ĉ − Σ_{c≠ĉ} p_c log p^s_c."""
    total = 0.0
    for (s, t), y in zip(examples(student, teacher), labels, strict=True):
        p, q = softmax(t), softmax(s)
        total -= (1 + p[y]) ** gamma * math.log(q[y])
        total -= sum(p[k] * math.log(q[k]) for k in range(len(p)) if k != y)
    return total / len(student)
