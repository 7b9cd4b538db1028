"""Write a distillation loss of your own and use it like those of the library.

Similarity-preserving distillation (Tung and Mori, 2019): images that are alike for the teacher shall be alike
for the student. G holds the inner products of all pairs of a batch, rows scaled to length 1; no projector:

    L = 1/B^2 * ||G_s - G_t||_F^2 ,    G = normalize(F F^T)

A subclass of `kd.Loss` composes with `+` and `*`; a plain function of tensors does where that is not needed.

    python examples/own_loss.py      # needs scikit-learn, which brings the images
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd
from kdvideo.losses import Given

STEPS = 300


class SimilarityPreserving(kd.Loss):
    """Squared difference between the similarities of all pairs of a batch; `role` names the feature."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role
        self.name = f"similarity[{role}]"

    def compute(self, student: kd.Output, teacher: kd.Output, given: Given) -> Tensor:
        """Compute the loss; `given` holds labels, mask, index and step."""
        return F.mse_loss(similarities(student.features[self.role]), similarities(teacher.features[self.role]))


def similarities(features: Tensor) -> Tensor:
    """Compute the inner products (B, B) of features (B, ...), each row scaled to length 1."""
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


def confidence_gap(student: Tensor, teacher: Tensor) -> Tensor:
    """Compare how sure both are, from logits (B, K): a loss as a plain function."""
    return F.mse_loss(student.softmax(1).amax(1), teacher.softmax(1).amax(1))


def network(width: int) -> nn.Sequential:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train(student: kd.Student, images: Tensor, labels: Tensor, teacher: kd.Teacher | None = None) -> None:
    """Train on labels; with a teacher also on the composed criterion and the plain function."""
    criterion = kd.LogitMSE() + 100.0 * SimilarityPreserving("hidden")
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for step in range(STEPS + 1):
        batch = torch.randint(len(images), (64,))
        s = student(images[batch])
        loss = F.cross_entropy(s.logits, labels[batch])
        if teacher is not None:
            t = teacher(images[batch])
            terms = criterion.terms(s, t) | {"confidence_gap": confidence_gap(s.logits, t.logits)}
            loss = loss + sum(terms.values())
            if step % 100 == 0:
                print(f"step {step:3}", *(f"{name} {term.item():.3f}" for name, term in terms.items()), sep="  ")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    """Train a large network, then a small one that it teaches."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)
    hidden = {"2": "hidden"}

    large, small = kd.Student(network(256), hidden), kd.Student(network(32), hidden)
    train(large, images[:1000], labels[:1000])
    train(small, images[:1000], labels[:1000], kd.Teacher(large.remove(), hidden))
    with torch.no_grad():
        right = (small(images[1000:]).logits.argmax(1) == labels[1000:]).float().mean().item()
    print(f"{100 * right:.1f} % of the test images are right")


if __name__ == "__main__":
    main()
