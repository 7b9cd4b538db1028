"""Self-distillation: the teacher is the moving average of the student itself.

The student sees an image moved and noisy, its own average sees it moved and noisy in another way, and both shall say
the same; that needs no label, so 100 labeled images teach along with 900 others:

    L = cross_entropy(s(view(x)), y) [on the labeled images]
        + a(step) * mean ||softmax s(view(x)) - softmax t(view'(x))||^2 [on all]
    t <- 0.99 t + 0.01 s after every step

`EMATeacher.update` follows `optimizer.step()`. Compared with the same steps without the second term. Settings were
chosen on images that are not tested on.

    python examples/ema_teacher.py      # needs scikit-learn, which brings the images

Tarvainen, Valpola, "Mean teachers are better role models", 2017, arXiv 1703.01780.
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

SEEDS, STEPS = (0, 1, 2), 250
LABELED, TRAIN, TEST = slice(0, 100), slice(0, 1000), slice(1300, None)
WEIGHT = kd.schedules.Linear(0.0, 10.0, steps=100)


def network() -> nn.Module:
    """Build a convolutional network."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
    )


def view(images: Tensor) -> Tensor:
    """Move a batch by up to a pixel and add noise."""
    down, right = torch.randint(-1, 2, (2,)).tolist()
    return images.roll((down, right), (2, 3)) + 0.2 * torch.randn(images.shape)


def train(student: nn.Module, images: Tensor, labels: Tensor, *, weight: kd.schedules.Linear | None) -> kd.EMATeacher:
    """Train on the labeled images, the first of `images`, and toward the average on all; return the average."""
    teacher = kd.EMATeacher(student, momentum=0.99)
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for step in range(STEPS):
        batch = torch.randint(len(labels), (32,))
        loss = F.cross_entropy(student(view(images[batch])), labels[batch])
        if weight is not None:
            inputs = images[torch.randint(len(images), (64,))]
            target = teacher(view(inputs)).logits
            assert target is not None
            loss = loss + weight(step) * F.mse_loss(student(view(inputs)).softmax(1), target.softmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        teacher.update(student)
    return teacher


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((net(images).argmax(1) == labels).float().mean())


def main() -> None:
    """Train with and without the second term for each seed and print the accuracies of students and averages."""
    digits = load_digits()
    order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 8 - 1
    labels = torch.tensor(digits.target)[order]

    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        for name, weight in (("labels alone", None), ("with the average as teacher", WEIGHT)):
            torch.manual_seed(seed)  # the same first weights
            student = network()
            average = train(student, images[TRAIN], labels[LABELED], weight=weight)
            for what, net in (("student", student), ("average", average.model)):
                rows.setdefault(f"{name}: {what}", []).append(accuracy(net, images[TEST], labels[TEST]))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<38} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
