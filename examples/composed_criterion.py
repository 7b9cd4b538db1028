"""Compose a criterion from losses, weight it by schedules, and log its terms.

    L(step) = cross_entropy + a(step) * logit_mse + 0.5 * feature_mse[hidden] + b(step) * soft_target

Losses are added with `+` and weighted with `*`. A weight is a number or a schedule, a pure function of the
step: here a rises from 0 over the first 100 steps, b falls to 0 along half a cosine wave.

    python examples/composed_criterion.py      # needs scikit-learn, which brings the images
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


def network(width: int) -> nn.Sequential:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train_teacher(images: Tensor, labels: Tensor) -> nn.Module:
    """Train a large network on labels."""
    net = network(256)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch = torch.randint(len(images), (64,))
        loss = F.cross_entropy(net(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def main() -> None:
    """Train a student and print the terms of its criterion."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)

    layers = {"2": "hidden"}  # module path -> role
    teacher = kd.Teacher(train_teacher(images[:1000], labels[:1000]), layers)
    student = kd.Student(network(32), layers, projectors={"hidden": kd.projectors.linear(32, 256)})
    criterion = (
        kd.schedules.Linear(0.0, 1.0, steps=100) * kd.LogitMSE()
        + 0.5 * kd.FeatureMSE("hidden")
        + kd.schedules.Cosine(1.0, 0.0, steps=STEPS) * kd.SoftTarget(temperature=4.0)
    )
    print("criterion:", criterion.name)

    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    # Schedules serve the learning rate as well.
    rate = kd.schedules.Warmup(20, then=kd.schedules.Cosine(1.0, 0.0, steps=STEPS))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for step in range(STEPS):
        batch = torch.randint(1000, (64,))
        s, t = student(images[batch]), teacher(images[batch])
        terms = criterion.terms(s, t, step=step)  # their sum is criterion(s, t, step=step)
        loss = F.cross_entropy(s.logits, labels[batch]) + sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 60 == 0 or step == STEPS - 1:
            print(f"step {step:3}", *(f"{name} {term.item():.3f}" for name, term in terms.items()), sep="  ")

    with torch.no_grad():
        right = (student(images[1000:]).logits.argmax(1) == labels[1000:]).float().mean().item()
    print(f"{100 * right:.1f} % of the test images are right")


if __name__ == "__main__":
    main()
