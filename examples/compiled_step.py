"""Compile the whole step: teacher, student, projector and criterion as one graph without breaks.

Wrap first, compile after. Features are returned values and not kept on the side, so that the compiler sees them; with
`fullgraph=True` it would refuse a step that it cannot see as a whole. The optimizer stays outside.

    python examples/compiled_step.py                         # the graph as it is: quick to build
    python examples/compiled_step.py --backend inductor      # fused kernels: what one trains with; needs a C++ compiler

Needs scikit-learn, which brings the images.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description="Compile the step of distillation.")
    parser.add_argument("--backend", choices=("aot_eager", "inductor"), default="aot_eager", help="of torch.compile")
    options = parser.parse_args()

import copy
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

STEPS = 50
Step = Callable[[Tensor, Tensor], Tensor]


def network(width: int) -> nn.Module:
    """Build two convolutions and a classifier."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8 * width, 10)),
    )


def step_of(student: kd.Student, teacher: kd.Teacher) -> Step:
    """Return the loss as a function of a batch."""
    criterion = kd.SoftTarget(temperature=4.0) + 0.5 * kd.FeatureMSE("map")

    def step(images: Tensor, labels: Tensor) -> Tensor:
        s, t = student(images), teacher(images)
        loss: Tensor = F.cross_entropy(s.logits, labels) + criterion(s, t)
        return loss

    return step


def train(step: Step, student: kd.Student, images: Tensor, labels: Tensor) -> list[float]:
    """Train a student and return its losses."""
    torch.manual_seed(1)
    losses, optimizer = [], torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9)
    for _ in range(STEPS):
        batch = torch.randint(len(images), (64,))
        loss = step(images[batch], labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main(backend: str) -> None:
    """Train the same student plainly and compiled, and compare their losses."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)

    torch.manual_seed(0)
    layers = {"3": "map"}  # module path -> role
    teacher = kd.Teacher(network(16), layers)  # stands for a trained network
    plain = kd.Student(network(4), layers, projectors={"map": nn.Conv2d(8, 32, 1)})
    compiled = copy.deepcopy(plain)
    losses = {}
    for name, student in (("plain", plain), ("compiled", compiled)):
        step = step_of(student, teacher)
        if student is compiled:
            step = torch.compile(step, fullgraph=True, backend=backend)
            print(f"compiled with {backend} as one graph, fullgraph=True")
        losses[name] = train(step, student, images, labels)
        print(f"{name}: first loss {losses[name][0]:.4f}, last loss {losses[name][-1]:.4f}")
    gap = max(abs(a - b) for a, b in zip(losses["plain"], losses["compiled"], strict=True))
    print(f"largest difference of a loss in {STEPS} steps: {gap:.0e}")


if __name__ == "__main__":
    main(options.backend)
