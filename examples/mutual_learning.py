"""Deep mutual learning: two students and no teacher; each learns from the labels and from the other.

    L_1 = cross_entropy(s_1(x), y) [on 100 labeled images] + KL(softmax(s_2(x)) || softmax(s_1(x))) [on all 1000],
    and the same with 1 and 2 exchanged

Each is the other's teacher as it stands at that step, so its logits enter the other's loss detached. Here the network
that is worse alone gains, and the better one loses. Settings were chosen on images that are not tested on.

    python examples/mutual_learning.py      # needs scikit-learn, which brings the images

Zhang, Xiang, Hospedales, Lu, "Deep Mutual Learning", CVPR 2018, arXiv 1706.00384.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

from statistics import mean, stdev

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

SEEDS = (0, 1, 2)
STEPS = 200
LABELED, TRAIN, TEST = slice(0, 100), slice(0, 1000), slice(1300, None)


def networks() -> nn.ModuleList:
    """Build two students, a convolutional network and one with a hidden layer."""
    convolutional = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
    )
    return nn.ModuleList(
        [convolutional, nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))]
    )


def detached(output: kd.Output) -> kd.Output:
    """Return the output as a target that carries no gradient."""
    assert output.logits is not None
    return kd.Output(output.logits.detach(), {})


def train(students: nn.ModuleList, images: Tensor, labels: Tensor, *, mutual: bool) -> None:
    """Train both on the labeled images, the first of `images`, and mutually on the probabilities of each other."""
    criterion = kd.SoftTarget(temperature=1.0)
    optimizer = torch.optim.Adam(students.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch, unlabeled = torch.randint(len(labels), (64,)), torch.randint(len(images), (64,))
        loss = torch.stack([F.cross_entropy(net(images[batch]), labels[batch]) for net in students]).sum()
        if mutual:
            one, two = (kd.Output(net(images[unlabeled]), {}) for net in students)
            loss = loss + criterion(one, detached(two)) + criterion(two, detached(one))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((net(images).argmax(1) == labels).float().mean())


def main() -> None:
    """Train both ways for each seed and print the accuracies."""
    digits = load_digits()
    order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 8 - 1
    labels = torch.tensor(digits.target)[order]

    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        for way, mutual in (("alone", False), ("mutual", True)):
            torch.manual_seed(seed)  # the same first weights and batches
            students = networks()
            train(students, images[TRAIN], labels[LABELED], mutual=mutual)
            for name, student in zip(("convolutional", "one hidden layer"), students, strict=True):
                rows.setdefault(f"{name}, {way}", []).append(accuracy(student, images[TEST], labels[TEST]))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in sorted(rows.items()):
        print(f"  {name:<24} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
