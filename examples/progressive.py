"""Progressive layer-wise distillation: features are matched one after the other, from shallow to deep.

Each term has a schedule as its weight, a pure function of the step: 0 until its stage begins, 1 from there on; the
labels come last. One loop, one optimizer:

    L(step) = sum_k a_k(step) * ||P_k(f_s,k) - f_t,k||^2 / C + b(step) * cross_entropy(s(x), y)

Compared at the same number of steps with labels alone and with all terms from the first step. Features need no label:
they are matched on 1000 images, of which 100 have labels. Settings were chosen on images that are not tested on.

    python examples/progressive.py      # needs scikit-learn, which brings the images

Hints before labels: Romero, Ballas, Kahou et al., "FitNets: Hints for Thin Deep Nets", 2015, arXiv 1412.6550.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

from collections.abc import Callable
from statistics import mean, stdev

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

SEEDS = (0, 1)
STAGE, STEPS = 40, 240  # three stages for the layers, three for the labels
LABELED, TRAIN, TEST = slice(0, 100), slice(0, 1000), slice(1300, None)
LAYERS = {"1": "shallow", "3": "middle", "5": "deep"}  # module path -> role


def network(width: int) -> nn.Module:
    """Build three convolutions and a classifier."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10)),
    )


def from_stage(k: int) -> kd.schedules.Milestones:
    """Return the weight that is 0 before a stage and 1 from there on."""
    return kd.schedules.Milestones(0.0, {k * STAGE: 1.0})


def train(
    student: kd.Student,
    images: Tensor,
    labels: Tensor,
    label_weight: Callable[[int], float],
    criterion: kd.Loss | None = None,
    teacher: kd.Teacher | None = None,
) -> nn.Module:
    """Train on the labeled images, the first of `images`, and on the teacher's features of all; return the network."""
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    for step in range(STEPS):
        batch = torch.randint(len(labels), (64,))
        loss = label_weight(step) * F.cross_entropy(student(images[batch]).logits, labels[batch])
        if criterion is not None and teacher is not None:
            inputs = images[torch.randint(len(images), (64,))]
            loss = loss + criterion(student(inputs), teacher(inputs), step=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return student.model


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((net(images).argmax(1) == labels).float().mean())


def main() -> None:
    """Train the teacher and three students for each seed and print their accuracies."""
    digits = load_digits()
    order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 8 - 1
    labels = torch.tensor(digits.target)[order]

    always = kd.schedules.Constant(1.0)
    at_once = kd.FeatureMSE(tuple(LAYERS.values()))
    shallow, middle, deep = (from_stage(k) * kd.FeatureMSE(role) for k, role in enumerate(LAYERS.values()))
    one_by_one = shallow + middle + deep
    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        teacher = kd.Teacher(train(kd.Student(network(16)), images[TRAIN], labels[TRAIN], always), LAYERS)
        rows.setdefault("teacher, 1000 labels", []).append(accuracy(teacher.model, images[TEST], labels[TEST]))
        for name, criterion, label_weight in (
            ("labels alone", None, always),
            ("all layers at once", at_once, always),
            ("layer by layer, then labels", one_by_one, from_stage(3)),
        ):
            torch.manual_seed(seed)  # the same first weights
            projectors = {role: nn.Conv2d(4 * 2**k, 16 * 2**k, 1) for k, role in enumerate(LAYERS.values())}
            student = kd.Student(network(4), LAYERS, projectors=projectors)
            net = train(student, images[TRAIN], labels[LABELED], label_weight, criterion, teacher)
            rows.setdefault(name, []).append(accuracy(net, images[TEST], labels[TEST]))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<28} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
