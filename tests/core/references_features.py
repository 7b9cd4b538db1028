"""The feature losses as loops over numbers, in float64, written down from the papers and from nothing else."""

import itertools
import math

import numpy as np


def norm(vector: list[float]) -> float:
    return math.sqrt(sum(x * x for x in vector))


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def softmax(values: list[float]) -> list[float]:
    largest = max(values)
    weights = [math.exp(value - largest) for value in values]
    return [weight / sum(weights) for weight in weights]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0)


def huber(x: float) -> float:
    """RKD, equation 4, delta 1."""
    return x * x / 2 if abs(x) <= 1 else abs(x) - 0.5


def numbers(sample: np.ndarray) -> list[float]:
    return [sample[index].item() for index in np.ndindex(*sample.shape)]


def attention_transfer(student: np.ndarray, teacher: np.ndarray, power: float = 2, per_frame: bool = False) -> float:
    """Zagoruyko and Komodakis, equation 2, squared and averaged over positions as in section 3.1's settings."""

    def attention(sample: np.ndarray) -> dict[tuple[int, ...], float]:
        channels, *size = sample.shape
        energy = {p: sum(abs(sample[(c, *p)]) ** power for c in range(channels)) for p in np.ndindex(*size)}
        out = {}
        for position in energy:
            mates = [q for q in energy if not per_frame or q[0] == position[0]]
            out[position] = energy[position] / norm([energy[q] for q in mates])
        return out

    total, count = 0.0, 0
    for s, t in zip(student, teacher, strict=True):
        q_s, q_t = attention(s), attention(t)
        for position in q_s:
            total += (q_s[position] - q_t[position]) ** 2
            count += 1
    return total / count


def similarity_preserving(student: np.ndarray, teacher: np.ndarray) -> float:
    """Tung and Mori, equations 1 to 4."""

    def similarities(batch: np.ndarray) -> list[list[float]]:
        rows = [[dot(numbers(a), numbers(b)) for b in batch] for a in batch]
        return [[x / norm(row) for x in row] for row in rows]

    g_s, g_t = similarities(student), similarities(teacher)
    b = len(student)
    return sum((g_t[i][j] - g_s[i][j]) ** 2 for i in range(b) for j in range(b)) / b**2


def rkd_distance(student: np.ndarray, teacher: np.ndarray) -> float:
    """Park et al., equations 5 to 8, averaged over the pairs."""

    def potentials(batch: np.ndarray) -> dict[tuple[int, int], float]:
        pairs = list(itertools.permutations(range(len(batch)), 2))
        distances = {(i, j): norm(numbers(batch[i] - batch[j])) for i, j in pairs}
        mean = sum(distances.values()) / len(pairs)
        return {pair: distance / mean for pair, distance in distances.items()}

    psi_s, psi_t = potentials(student), potentials(teacher)
    return sum(huber(psi_t[pair] - psi_s[pair]) for pair in psi_s) / len(psi_s)


def rkd_angle(student: np.ndarray, teacher: np.ndarray) -> float:
    """Park et al., equations 9 and 10, averaged over the triples."""

    def cosine(batch: np.ndarray, i: int, j: int, k: int) -> float:
        first, second = numbers(batch[i] - batch[j]), numbers(batch[k] - batch[j])
        return dot(first, second) / (norm(first) * norm(second))

    triples = list(itertools.permutations(range(len(student)), 3))
    return sum(huber(cosine(teacher, *t) - cosine(student, *t)) for t in triples) / len(triples)


def pkt(student: np.ndarray, teacher: np.ndarray) -> float:
    """Passalis and Tefas: conditional probabilities without the sample itself, cosine kernel, KL divergence."""

    def neighbors(batch: np.ndarray, i: int) -> list[float]:
        kernel = []
        for j in range(len(batch)):
            if j != i:
                a, b = numbers(batch[i]), numbers(batch[j])
                kernel.append((dot(a, b) / (norm(a) * norm(b)) + 1) / 2)
        return [k / sum(kernel) for k in kernel]

    return sum(kl(neighbors(teacher, i), neighbors(student, i)) for i in range(len(student))) / len(student)


def correlation_congruence(student: np.ndarray, teacher: np.ndarray, gamma: float = 0.4, order: int = 2) -> float:
    """Peng et al.: the difference of correlation matrices, Gaussian RBF by its Taylor series."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        x, y = numbers(a), numbers(b)
        inner = dot(x, y) / (norm(x) * norm(y))
        total = 0.0
        for p in range(order + 1):
            total += math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * inner**p
        return total

    n = len(student)
    pairs = itertools.product(range(n), range(n))
    return sum((kernel(teacher[i], teacher[j]) - kernel(student[i], student[j])) ** 2 for i, j in pairs) / n**2


def ickd(student: np.ndarray, teacher: np.ndarray) -> float:
    """Liu et al.: inner products of channels; rows of unit length and 1/(B·C) as the authors computed it."""

    def correlations(sample: np.ndarray) -> list[list[float]]:
        rows = [[dot(numbers(a), numbers(b)) for b in sample] for a in sample]
        return [[x / norm(row) for x in row] for row in rows]

    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        g_s, g_t = correlations(s), correlations(t)
        total += sum((a - b) ** 2 for x, y in zip(g_s, g_t, strict=True) for a, b in zip(x, y, strict=True))
    return total / (len(student) * student.shape[1])


def nst(student: np.ndarray, teacher: np.ndarray, degree: int = 2, offset: float = 0.0) -> float:
    """Huang and Wang, equations 3 and 6."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        x, y = numbers(a), numbers(b)
        return (dot(x, y) / (norm(x) * norm(y)) + offset) ** degree

    def mean(left: np.ndarray, right: np.ndarray) -> float:
        return sum(kernel(a, b) for a in left for b in right) / (len(left) * len(right))

    values = [mean(t, t) + mean(s, s) - 2 * mean(s, t) for s, t in zip(student, teacher, strict=True)]
    return sum(values) / len(values)


def fsp(student: tuple[np.ndarray, np.ndarray], teacher: tuple[np.ndarray, np.ndarray]) -> float:
    """Yim et al., equations 1 and 2."""

    def flow(first: np.ndarray, second: np.ndarray, i: int, j: int) -> float:
        size = first.shape[1:]
        return sum(first[(i, *p)] * second[(j, *p)] for p in np.ndindex(*size)) / math.prod(size)

    total, batch = 0.0, len(student[0])
    for n in range(batch):
        for i in range(student[0].shape[1]):
            for j in range(student[1].shape[1]):
                ours = flow(student[0][n], student[1][n], i, j)
                theirs = flow(teacher[0][n], teacher[1][n], i, j)
                total += (theirs - ours) ** 2
    return total / batch


def cwd(student: np.ndarray, teacher: np.ndarray, temperature: float = 4.0) -> float:
    """Shu et al., equations 3 and 4, averaged over the samples."""
    total, batch, channels = 0.0, *student.shape[:2]
    for n in range(batch):
        for c in range(channels):
            phi_t = softmax([x / temperature for x in numbers(teacher[n, c])])
            phi_s = softmax([x / temperature for x in numbers(student[n, c])])
            total += temperature**2 / channels * kl(phi_t, phi_s)
    return total / batch


def pkd(student: np.ndarray, teacher: np.ndarray, eps: float = 1e-6) -> float:
    """Cao et al.: half the squared error of features with mean 0 and variance 1 in each channel."""

    def standardized(feature: np.ndarray, c: int) -> list[float]:
        values = numbers(feature[:, c])
        mean = sum(values) / len(values)
        variance = sum((x - mean) ** 2 for x in values) / len(values)
        return [(x - mean) / math.sqrt(variance + eps) for x in values]

    channels, total = student.shape[1], 0.0
    for c in range(channels):
        a, b = standardized(student, c), standardized(teacher, c)
        total += sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / (2 * len(a))
    return total / channels


def foundation_feature(
    student: np.ndarray, teacher: np.ndarray, cosine: float = 0.5, smooth_l1: float = 0.5, beta: float = 1.0
) -> float:
    """UNIC, section 3: the cosine and the smooth-L1 loss of each token (rows here), weighted."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        distance = 1 - dot(s, t) / (norm(s) * norm(t))
        error = 0.0
        for x, y in zip(s, t, strict=True):
            d = abs(x - y)
            error += d * d / (2 * beta) if d < beta else d - beta / 2
        total += cosine * distance + smooth_l1 * error / len(s)
    return total / len(student)


def feature_cosine(student: np.ndarray, teacher: np.ndarray) -> float:
    """One minus the cosine of each position's channels."""
    return foundation_feature(student, teacher, 1.0, 0.0)


def attention_mse(student: np.ndarray, teacher: np.ndarray) -> float:
    """TinyBERT, equation 7: 1/h Σ_i MSE(A_i^S, A_i^T)."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        for head_s, head_t in zip(s, t, strict=True):
            size = head_s.shape[0] * head_s.shape[1]
            error = sum((head_s[index] - head_t[index]) ** 2 for index in np.ndindex(*head_s.shape))
            total += error / size / student.shape[1]
    return total / len(student)


def attention_kl(student: np.ndarray, teacher: np.ndarray) -> float:
    """MiniLM, equation 6: 1/(A·|x|) Σ_a Σ_t KL(A^T_{a,t} ‖ A^S_{a,t})."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        for a in range(s.shape[0]):
            for query in range(s.shape[1]):
                total += kl(t[a, query], s[a, query]) / (s.shape[0] * s.shape[1])
    return total / len(student)


def value_relation(student: np.ndarray, teacher: np.ndarray, heads: int) -> float:
    """MiniLM, equations 7 to 9: softmax(V·Vᵀ/√d) in every head, then the KL divergence of every row."""

    def relation(tokens: np.ndarray, a: int, query: int) -> list[float]:
        d = tokens.shape[1] // heads
        values = [[tokens[n, a * d + k] for k in range(d)] for n in range(len(tokens))]
        return softmax([dot(values[query], value) / math.sqrt(d) for value in values])

    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        for a in range(heads):
            for query in range(len(s)):
                total += kl(relation(t, a, query), relation(s, a, query)) / (heads * len(s))
    return total / len(student)
