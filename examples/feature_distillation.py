"""Distill features: the student's layers learn to look like the teacher's, across different widths.

Layers are named by their module path and given a role; the role pairs teacher and student. Where the widths
differ, a projector maps the student's feature f_s to the teacher's space; it is trained along and thrown away:

    L = cross_entropy(s(x), y) + mean over batch and space of ||P(f_s) - f_t||^2 / C

    python examples/feature_distillation.py      # needs scikit-learn, which brings the images
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

STEPS = 300


class Net(nn.Module):
    """Two convolutions and a classifier."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(8 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Classify images (B, 1, 8, 8)."""
        logits: Tensor = self.head(self.pool(self.late(self.early(images))))
        return logits


def train_teacher(images: Tensor, labels: Tensor) -> nn.Module:
    """Train a wide network on labels."""
    net = Net(width=16)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(STEPS):
        batch = torch.randint(len(images), (64,))
        loss = F.cross_entropy(net(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def main() -> None:
    """Tap two layers of both, match them and use the bare student."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)

    small = Net(width=4)
    print("what can be tapped:")
    kd.describe(small, images[:1])

    layers = {"late": "middle", "pool": "end"}  # module path -> role
    teacher = kd.Teacher(train_teacher(images[:1000], labels[:1000]), layers)
    projectors = {
        "middle": nn.Conv2d(8, 32, kernel_size=1),  # any module does; for clips kd.projectors.conv(8, 32)
        "end": kd.projectors.linear(32, 128),
    }
    student = kd.Student(small, layers, projectors=projectors)
    criterion = kd.FeatureMSE("middle") + kd.FeatureMSE("end")

    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)  # the projectors too
    for step in range(STEPS + 1):
        batch = torch.randint(1000, (64,))
        s, t = student(images[batch]), teacher(images[batch])
        terms = criterion.terms(s, t)
        loss = F.cross_entropy(s.logits, labels[batch]) + sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:3}", *(f"{name} {term.item():.3f}" for name, term in terms.items()), sep="  ")

    with torch.no_grad():
        right = (small(images[1000:]).argmax(1) == labels[1000:]).float().mean().item()
    print(f"the bare student, without teacher and projectors: {100 * right:.1f} % of the test images are right")


if __name__ == "__main__":
    main()
