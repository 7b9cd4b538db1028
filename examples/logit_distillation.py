"""Distill the logits of a large network into a small one, on real images of digits.

A teacher trained on 1000 labeled images teaches a student for which only 100 of them have labels:

    L = cross_entropy(s(x), y) [on the labeled images] + 1/N * sum_i ||s(x_i) - t(x_i)||^2 / K [on all]

The teacher's logits need no label, so the student also learns from the other 900 images. A demonstration, no
benchmark: with 1000 labels for the student nothing is gained, and settings were chosen on these very images.

    python examples/logit_distillation.py      # needs scikit-learn, which brings the images
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

SEEDS = (0, 1, 2, 3, 4)
STEPS = 200
TRAINING, LABELED = 1000, 100


def teacher_network() -> nn.Module:
    """Build a convolutional network."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def student_network() -> nn.Module:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def train(net: nn.Module, images: Tensor, labels: Tensor, teacher: kd.Teacher | None = None) -> nn.Module:
    """Train on the labeled images, the first of `images`; with a teacher also on its logits for all of them."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(STEPS):
        batch = torch.randint(len(labels), (64,))
        loss = F.cross_entropy(net(images[batch]), labels[batch])
        if teacher is not None:
            inputs = images[torch.randint(len(images), (64,))]
            loss = loss + kd.functional.logit_mse(net(inputs), teacher(inputs).logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((net(images).argmax(1) == labels).float().mean())


def main() -> None:
    """Train teacher and students for each seed and print their accuracies."""
    digits = load_digits()  # 1797 scanned digits of 8x8 pixels, 16 gray levels
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    test = images[TRAINING:], labels[TRAINING:]

    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        teacher = kd.Teacher(train(teacher_network(), images[:TRAINING], labels[:TRAINING]))
        rows.setdefault("teacher, 1000 labels", []).append(accuracy(teacher.model, *test))
        for name, seen, taught in (
            ("student alone, 100 labels", LABELED, False),
            ("student taught, 100 labels", LABELED, True),
            ("student taught, 100 labels + 900 images", TRAINING, True),
        ):
            torch.manual_seed(seed)  # the same first weights for the three students
            student = train(student_network(), images[:seen], labels[:LABELED], teacher if taught else None)
            rows.setdefault(name, []).append(accuracy(student, *test))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<40} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
