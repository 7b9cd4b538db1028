"""Distill a ResNet of timm into a MobileNet of timm: layers by name, projectors inferred from one dry run.

timm calls the ends of the stages by their module paths, `feature_info`; the stage of the same stride is tapped in both.
`projectors.infer` runs both once and gives a projector where shapes differ:

    L = cross_entropy(s(x), y) [on 100 labeled images] + KL of softened classes + 0.5 * ||P(f_s) - f_t||^2 / C [on 1000]

Real images of digits, 8x8 enlarged to 16x16; nothing is downloaded: both networks start from random weights.

    python examples/timm_mobilenet.py      # needs timm, and scikit-learn, which brings the images
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

from statistics import mean, stdev
from typing import Any

import timm
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

SEEDS, STEPS = (0, 1), 60
LABELED, TRAIN, TEST = slice(0, 100), slice(0, 1000), slice(1300, None)


def network(name: str) -> nn.Module:
    """Build a network of timm for gray images of ten classes."""
    net: nn.Module = timm.create_model(name, in_chans=1, num_classes=10)
    return net


def layer_of_stride(net: nn.Module, stride: int) -> str:
    """Return the module path of the last stage of a stride."""
    stages: Any = net.feature_info
    return str([stage["module"] for stage in stages if stage["reduction"] == stride][-1])


def train(student: kd.Student, images: Tensor, labels: Tensor, teacher: kd.Teacher | None = None) -> nn.Module:
    """Train on the labeled images, the first of `images`, with a teacher also on its outputs for all."""
    criterion = kd.SoftTarget(temperature=4.0) + 0.5 * kd.FeatureMSE("map")
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch, others = torch.randint(len(labels), (32,)), torch.randint(len(images), (32,))
        inputs = images[batch] if teacher is None else images[torch.cat([batch, others])]
        s = student(inputs)
        loss = F.cross_entropy(s.logits[:32], labels[batch])
        if teacher is not None:
            loss = loss + criterion(s, teacher(inputs))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return student.model.eval()


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((net(images).argmax(1) == labels).float().mean())


def main() -> None:
    """Train teacher and students for each seed and print their accuracies."""
    digits = load_digits()
    order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
    small = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 8 - 1
    images, labels = F.interpolate(small, size=16, mode="bilinear"), torch.tensor(digits.target)[order]

    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        resnet = network("resnet10t")
        train(kd.Student(resnet), images[TRAIN], labels[TRAIN])
        teacher = kd.Teacher(resnet, {layer_of_stride(resnet, 4): "map"})
        rows.setdefault("ResNet-10, 1000 labels", []).append(accuracy(resnet, images[TEST], labels[TEST]))
        for name, its_teacher in (("MobileNetV3 alone", None), ("MobileNetV3 taught", teacher)):
            torch.manual_seed(seed)  # the same first weights
            net = network("mobilenetv3_small_050")
            layers = {layer_of_stride(net, 4): "map"}
            bare = kd.Student(net, layers)
            plan = kd.projectors.infer(bare, teacher, images[:2])
            student = kd.Student(bare.remove(), layers, projectors=plan)
            if seed == SEEDS[0] and its_teacher is not None:
                print(plan)
            train(student, images[TRAIN], labels[LABELED], its_teacher)
            rows.setdefault(f"{name}, 100 labels", []).append(accuracy(net, images[TEST], labels[TEST]))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<32} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
