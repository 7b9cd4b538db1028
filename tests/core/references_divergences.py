"""Divergences and their kin as loops over numbers, in float64, written down from the papers and from nothing else."""

import math

import numpy as np

from tests.core.references import softened


def rows(array: np.ndarray) -> np.ndarray:
    """Tokens (B, N, K) -> (B · N, K): every position is an example."""
    return array.reshape(-1, array.shape[-1])


def kullback_leibler(p: list[float], q: list[float]) -> float:
    """Σ_k p_k log(p_k / q_k)."""
    total = 0.0
    for k in range(len(p)):
        if p[k] > 0:
            total += p[k] * math.log(p[k] / q[k])
    return total


def averaged(student: np.ndarray, teacher: np.ndarray, temperature: float, divergence) -> float:
    """Mean over examples of a divergence of (p of the teacher, q of the student)."""
    student, teacher = rows(student), rows(teacher)
    total = 0.0
    for i in range(len(student)):
        total += divergence(softened(teacher[i], temperature), softened(student[i], temperature))
    return total / len(student)


def reverse_kl(student: np.ndarray, teacher: np.ndarray, temperature: float = 1.0) -> float:
    """MiniLLM, the objective at every token: KL(q_θ ‖ p)."""
    return averaged(student, teacher, temperature, lambda p, q: kullback_leibler(q, p))


def jensen_shannon(student: np.ndarray, teacher: np.ndarray, beta: float, temperature: float = 1.0) -> float:
    """GKD, section 2: β KL(P ‖ β P + (1 − β) Q) + (1 − β) KL(Q ‖ β P + (1 − β) Q), P the teacher."""

    def divergence(p: list[float], q: list[float]) -> float:
        m = [beta * p[k] + (1 - beta) * q[k] for k in range(len(p))]
        return beta * kullback_leibler(p, m) + (1 - beta) * kullback_leibler(q, m)

    return averaged(student, teacher, temperature, divergence)


def skewed_kl(student: np.ndarray, teacher: np.ndarray, skew: float, temperature: float = 1.0) -> float:
    """DistiLLM: KL(p ‖ α p + (1 − α) q_θ)."""

    def divergence(p: list[float], q: list[float]) -> float:
        return kullback_leibler(p, [skew * p[k] + (1 - skew) * q[k] for k in range(len(p))])

    return averaged(student, teacher, temperature, divergence)


def skewed_reverse_kl(student: np.ndarray, teacher: np.ndarray, skew: float, temperature: float = 1.0) -> float:
    """DistiLLM: KL(q_θ ‖ (1 − α) p + α q_θ)."""

    def divergence(p: list[float], q: list[float]) -> float:
        return kullback_leibler(q, [(1 - skew) * p[k] + skew * q[k] for k in range(len(p))])

    return averaged(student, teacher, temperature, divergence)


def alpha_beta(student: np.ndarray, teacher: np.ndarray, alpha: float, beta: float, temperature: float = 1.0) -> float:
    """ABKD, definition of the α-β-divergence, and Cichocki et al., equation of its continuous extension."""

    def divergence(p: list[float], q: list[float]) -> float:
        total = 0.0
        for a, b in zip(p, q, strict=True):
            if beta == 0:
                total += (a**alpha * math.log(a**alpha / b**alpha) - a**alpha + b**alpha) / alpha**2
            elif alpha == 0:
                total += (b**beta * math.log(b**beta / a**beta) - b**beta + a**beta) / beta**2
            else:
                inner = a**alpha * b**beta
                inner -= alpha / (alpha + beta) * a ** (alpha + beta)
                inner -= beta / (alpha + beta) * b ** (alpha + beta)
                total -= inner / (alpha * beta)
        return total

    return averaged(student, teacher, temperature, divergence)


def total_variation(student: np.ndarray, teacher: np.ndarray, temperature: float = 1.0) -> float:
    """Wen et al.: ½ Σ_k |p_k − q_k|."""
    return averaged(student, teacher, temperature, lambda p, q: 0.5 * sum(abs(p[k] - q[k]) for k in range(len(p))))


def binary_kd(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    """Yang et al.: KL of ([ŷ^T, 1 − ŷ^T] ‖ [ŷ^S, 1 − ŷ^S]) for every label, summed over labels; times T²."""
    total = 0.0
    for i in range(len(student)):
        for k in range(student.shape[1]):
            p = 1 / (1 + math.exp(-teacher[i, k] / temperature))
            q = 1 / (1 + math.exp(-student[i, k] / temperature))
            total += kullback_leibler([p, 1 - p], [q, 1 - q])
    return temperature**2 * total / len(student)


def smooth_l1(student: np.ndarray, teacher: np.ndarray) -> float:
    """Girshick, Fast R-CNN, equation 3: 0.5 x² if |x| < 1, |x| − 0.5 otherwise; the mean over outputs."""
    total, count = 0.0, 0
    for s, t in zip(student.ravel().tolist(), teacher.ravel().tolist(), strict=True):
        x = abs(s - t)
        total += 0.5 * x * x if x < 1 else x - 0.5
        count += 1
    return total / count


def bounded_regression(student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, margin: float) -> float:
    """Chen et al., section 3.3: ‖R_s − y‖² where ‖R_s − y‖² + m > ‖R_t − y‖², otherwise 0."""
    total = 0.0
    for i in range(len(student)):
        ours = sum((a - y) ** 2 for a, y in zip(np.atleast_1d(student[i]), np.atleast_1d(labels[i]), strict=True))
        theirs = sum((b - y) ** 2 for b, y in zip(np.atleast_1d(teacher[i]), np.atleast_1d(labels[i]), strict=True))
        if ours + margin > theirs:
            total += ours
    return total / len(student)


def cosine(a: list[float], b: list[float]) -> float:
    """a · b / (‖a‖ ‖b‖)."""
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b)))


def contrastive_relations(student: np.ndarray, teacher: np.ndarray, tau: float, teacher_tau: float) -> float:
    """CLIP-KD, contrastive relational distillation; each tensor is [images, texts] side by side."""
    batch, width = student.shape[0], student.shape[1] // 2

    def contrast(both: np.ndarray, anchor: int, t: float, of_images: bool) -> list[float]:
        images, texts = both[:, :width], both[:, width:]
        anchors, others = (images, texts) if of_images else (texts, images)
        weights = [math.exp(cosine(list(anchors[anchor]), list(others[j])) / t) for j in range(batch)]
        return [weight / sum(weights) for weight in weights]

    total = 0.0
    for of_images in (True, False):
        for i in range(batch):
            p = contrast(teacher, i, teacher_tau, of_images)
            q = contrast(student, i, tau, of_images)
            total += kullback_leibler(p, q) / batch
    return total / 2


def uniform_teacher(student: np.ndarray, teacher: np.ndarray) -> float:
    """Yuan et al., section 3: KL(u, p), u(k) = 1/K."""
    total = 0.0
    for i in range(len(student)):
        classes = student.shape[1]
        total += kullback_leibler([1 / classes] * classes, softened(student[i], 1.0))
    return total / len(student)


def virtual_teacher(
    student: np.ndarray, teacher: np.ndarray, labels: np.ndarray, correct: float, temperature: float
) -> float:
    """Yuan et al., Tf-KD_reg: KL(p^d_τ, p_τ), p^d(k) = a if k = c and (1 − a) / (K − 1) otherwise."""
    total, classes = 0.0, student.shape[1]
    for i in range(len(student)):
        designed = [correct if k == labels[i] else (1 - correct) / (classes - 1) for k in range(classes)]
        powers = [d ** (1 / temperature) for d in designed]
        softer = [power / sum(powers) for power in powers]
        total += kullback_leibler(softer, softened(student[i], temperature))
    return total / len(student)
