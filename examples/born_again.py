"""Born-again networks: each generation of one and the same network learns from the generation before.

The teacher is no larger than the student. Generation 0 learns from labels, generation k from labels and from the
softened probabilities of generation k - 1; every generation starts from new weights and trains for the same steps:

    L_k = cross_entropy(f_k(x), y) + T^2 * KL(softmax(f_{k-1}(x) / T) || softmax(f_k(x) / T))

On these images the generations gain nothing over the first, and the script says so: what it shows is the loop.

    python examples/born_again.py      # needs scikit-learn, which brings the images

Furlanello, Lipton, Tschannen, Itti, Anandkumar, "Born-Again Neural Networks", 2018, arXiv 1805.04770.
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
GENERATIONS, STEPS = 3, 150
TRAIN, TEST = slice(0, 100), slice(1300, None)


def network() -> nn.Module:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def train(net: nn.Module, images: Tensor, labels: Tensor, teacher: kd.Teacher | None = None) -> nn.Module:
    """Train on labels, with a teacher also on its probabilities."""
    criterion = kd.SoftTarget(temperature=4.0)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch = torch.randint(len(images), (64,))
        logits = net(images[batch])
        loss = F.cross_entropy(logits, labels[batch])
        if teacher is not None:
            loss = loss + criterion(kd.Output(logits, {}), teacher(images[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


@torch.no_grad()
def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((logits.argmax(1) == labels).float().mean())


def main() -> None:
    """Train the generations for each seed and print their accuracies and that of all together."""
    digits = load_digits()
    order = torch.randperm(len(digits.images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.images, dtype=torch.float32)[order, None] / 8 - 1
    labels = torch.tensor(digits.target)[order]

    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        teacher, together = None, torch.zeros(())
        for generation in range(GENERATIONS):
            student = train(network(), images[TRAIN], labels[TRAIN], teacher)
            teacher = kd.Teacher(student)
            logits = teacher(images[TEST]).logits
            assert logits is not None
            together = together + logits.softmax(1)
            rows.setdefault(f"generation {generation}", []).append(accuracy(logits, labels[TEST]))
        rows.setdefault("all together", []).append(accuracy(together, labels[TEST]))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<14} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
