"""Distill a segmentation network: the teacher's class of every pixel, and where its channels look.

Scenes of real handwritten digits, each pixel one of eleven classes; pixels at the edge of the ink have no class, as the
void of common data sets, and count neither for the labels nor for the teacher:

    L = cross_entropy(s, y) [on 24 labeled scenes] + KL of the pixels' classes + 3 * CWD of a feature [on all 300]

The class axis is 1 as everywhere; `mask` (B, H, W) says which pixels count, for logits and features of that size.
Settings were chosen on digits that are not tested on.

    python examples/segmentation.py      # needs scikit-learn, which brings the images

CWD: Shu, Liu, Gao, Yan, Shen, "Channel-Wise Knowledge Distillation for Dense Prediction", 2021, arXiv 2011.13256.
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

SEEDS, STEPS = (0, 1, 2), 150
SIZE, CLASSES, BACKGROUND, VOID = 20, 11, 10, 255
LABELED, TRAINING, TEST = 24, 300, 100
TRAIN_DIGITS, TEST_DIGITS = slice(0, 1000), slice(1300, None)


def scenes(digits: Tensor, classes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Place three digits on noise: images (count, 1, SIZE, SIZE) and the class of each pixel."""
    images, labels = 0.3 * torch.rand(count, 1, SIZE, SIZE), torch.full((count, SIZE, SIZE), BACKGROUND)
    for image, label in zip(images, labels, strict=True):
        for corner in torch.randperm(4)[:3].tolist():
            which = int(torch.randint(len(digits), ()))
            top, left = (10 * axis + int(torch.randint(3, ())) for axis in divmod(corner, 2))
            window = (slice(top, top + 8), slice(left, left + 8))
            image[0][window] = torch.maximum(image[0][window], digits[which])
            label[window] = torch.where(digits[which] > 0.5, classes[which], label[window])
            label[window] = torch.where((digits[which] - 0.35).abs() < 0.15, VOID, label[window])
    return images, labels


def network(width: int) -> nn.Sequential:
    """Build a network that keeps the resolution: the feature after module 5, (B, 2 * width, H, W)."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, padding=2, dilation=2), nn.BatchNorm2d(2 * width), nn.ReLU()),
        nn.Conv2d(2 * width, CLASSES, 3, padding=1),
    )


def train(
    student: kd.Student, images: Tensor, labels: Tensor, labeled: int, teacher: kd.Teacher | None = None
) -> nn.Module:
    """Train on the first `labeled` scenes, with a teacher also on its outputs for all; return the network."""
    criterion = kd.SoftTarget(temperature=1.0) + 3.0 * kd.CWD("dense", temperature=4.0)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    for _ in range(STEPS):
        batch = torch.randint(labeled, (8,))
        loss = F.cross_entropy(student(images[batch]).logits, labels[batch], ignore_index=VOID)
        if teacher is not None:
            batch = torch.randint(len(images), (8,))
            mask = labels[batch] != VOID
            loss = loss + criterion(student(images[batch]), teacher(images[batch]), mask=mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return student.model.eval()


@torch.no_grad()
def mean_iou(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Compute the mean intersection over union of the classes, in percent, over all pixels that have one."""
    found, keep = net(images).argmax(1), labels != VOID
    found, labels = found[keep], labels[keep]
    ratios = [((found == k) & (labels == k)).sum() / ((found == k) | (labels == k)).sum() for k in range(CLASSES)]
    return 100 * float(torch.stack(ratios).mean())


def main() -> None:
    """Train teacher and students for each seed and print their mean IoU."""
    data = load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))
    digits, classes = torch.tensor(data.images, dtype=torch.float32)[order] / 16, torch.tensor(data.target)[order]
    layers = {"5": "dense"}  # module path -> role

    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        images, labels = scenes(digits[TRAIN_DIGITS], classes[TRAIN_DIGITS], TRAINING)
        test = scenes(digits[TEST_DIGITS], classes[TEST_DIGITS], TEST)
        teacher = kd.Teacher(train(kd.Student(network(24)), images, labels, TRAINING), layers)
        rows.setdefault(f"teacher, {TRAINING} labeled scenes", []).append(mean_iou(teacher.model, *test))
        for name, its_teacher in (("student alone", None), ("student taught", teacher)):
            torch.manual_seed(seed)  # the same first weights
            student = kd.Student(network(6), layers, projectors={"dense": nn.Conv2d(12, 48, 1)})
            net = train(student, images, labels, LABELED, its_teacher)
            rows.setdefault(f"{name}, {LABELED} labeled scenes", []).append(mean_iou(net, *test))
    print(f"mean IoU in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<34} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
