"""Learn from several teachers: a weighted sum of losses, averaged probabilities, or weights for each sample.

Three teachers, each of which has never seen some of the ten digits. The student has 100 labels of all, and 900 images
without; the loop calls every teacher, and `kd.ensemble` makes one prediction of theirs:

    sum of losses:   L = sum_n w_n * KL(softmax(t_n / T) || softmax(s / T))
    averaged:        L = KL(mean_n softmax(t_n / T) || softmax(s / T))
    per sample:      the same with weights w_n(x), here how sure the teacher is of x

With equal weights and one T the gradients of the first two are equal, and so are their students, up to rounding.
Settings were chosen on images that are not tested on. With labels for every image, `ensemble.confidence_weights` weighs
teachers by their errors.

    python examples/several_teachers.py      # needs scikit-learn, which brings the images
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

from collections.abc import Callable, Sequence
from statistics import mean, stdev

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

SEEDS, STEPS = (0, 1), 200
LABELED, TRAIN, TEST = slice(0, 100), slice(0, 1000), slice(1300, None)
UNSEEN = ((0, 1, 2), (3, 4, 5), (6, 7, 8))  # digits that each teacher never saw
SOFT = kd.SoftTarget(temperature=2.0)
Way = Callable[[kd.Output, Sequence[Tensor]], Tensor]


def sum_of_losses(s: kd.Output, teachers: Sequence[Tensor]) -> Tensor:
    """Weight the loss to each teacher, as one criterion on all of them."""
    first, second, third = ((1 / 3) * kd.FromTeacher(str(n), SOFT) for n in range(3))
    criterion = first + second + third
    loss: Tensor = criterion(s, kd.ensemble.merge({str(n): kd.Output(t, {}) for n, t in enumerate(teachers)}))
    return loss


def averaged(s: kd.Output, teachers: Sequence[Tensor]) -> Tensor:
    """Learn from the mean of the teachers' probabilities."""
    target = kd.ensemble.mean_probabilities(teachers, temperature=SOFT.temperature)
    loss: Tensor = SOFT(s, kd.Output(target, {}))
    return loss


def per_sample(s: kd.Output, teachers: Sequence[Tensor]) -> Tensor:
    """Learn from their mean, in which a teacher counts as much as it is sure of a sample."""
    sure = torch.stack([t.softmax(1).amax(1) for t in teachers], 1) ** 8  # (B, N)
    target = kd.ensemble.mean_probabilities(teachers, weights=sure, temperature=SOFT.temperature)
    loss: Tensor = SOFT(s, kd.Output(target, {}))
    return loss


def network(width: int) -> nn.Module:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train(
    net: nn.Module, images: Tensor, labels: Tensor, way: Way | None = None, teachers: Sequence[kd.Teacher] = ()
) -> nn.Module:
    """Train on the labeled images, the first of `images`, and on what the teachers say of all."""
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch = torch.randint(len(labels), (64,))
        loss = F.cross_entropy(net(images[batch]), labels[batch])
        if way is not None:
            inputs = images[torch.randint(len(images), (64,))]
            loss = loss + way(kd.Output(net(inputs), {}), [teacher(inputs).logits for teacher in teachers])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((net(images).argmax(1) == labels).float().mean())


def main() -> None:
    """Train teachers and students for each seed and print their accuracies."""
    digits = load_digits()
    order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 8 - 1
    labels = torch.tensor(digits.target)[order]
    test = images[TEST], labels[TEST]
    ways = {"sum of losses": sum_of_losses, "averaged probabilities": averaged, "weights per sample": per_sample}

    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        teachers = []
        for unseen in UNSEEN:
            seen = ~torch.isin(labels[TRAIN], torch.tensor(unseen))
            teachers.append(kd.Teacher(train(network(256), images[TRAIN][seen], labels[TRAIN][seen])))
        rows.setdefault("a teacher, on the average", []).append(mean(accuracy(t.model, *test) for t in teachers))
        for name, way in ({"labels alone": None} | ways).items():
            torch.manual_seed(seed)  # the same first weights
            student = train(network(32), images[TRAIN], labels[LABELED], way, teachers)
            rows.setdefault(f"student, {name}", []).append(accuracy(student, *test))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<32} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
