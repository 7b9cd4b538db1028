"""Run the teacher once, keep its outputs on disk, and train from the files.

One pass writes t(view v of sample i) under the key (i, v); training then reads where `teacher(x)` stood:

    L = cross_entropy(s(x), y) + logit_mse(s(x), cache.read(ids, views).logits)

Outputs are kept in float16, so the losses are equal up to its rounding. A view is a number that decides the
augmentation; a cache knows by its fingerprint whose outputs it holds, and is refused for another teacher.

    python examples/teacher_cache.py      # needs scikit-learn, which brings the images
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import tempfile
from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

VIEWS = 4
STEPS = 100


def view(images: Tensor, views: Tensor) -> Tensor:
    """Shift each image (B, 1, 8, 8) as its view number says."""
    shifts = [(0, 0), (1, 0), (0, 1), (1, 1)]
    return torch.stack([image.roll(shifts[v], (1, 2)) for image, v in zip(images, views.tolist(), strict=True)])


def network(width: int) -> nn.Module:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train(images: Tensor, labels: Tensor, target: Callable[[list[str], Tensor, Tensor], kd.Output]) -> list[float]:
    """Train a student on the outputs that `target` gives for (ids, views, inputs); return its losses."""
    torch.manual_seed(1)
    student, losses = network(32), []
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch, views = torch.randint(len(images), (64,)), torch.randint(VIEWS, (64,))
        inputs, ids = view(images[batch], views), [f"digit-{i}" for i in batch.tolist()]
        logits = student(inputs)
        targets = target(ids, views, inputs).logits
        assert targets is not None
        loss = F.cross_entropy(logits, labels[batch]) + kd.functional.logit_mse(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Write the outputs of a teacher, then train with it and without it."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:500, None] / 8 - 1
    labels = torch.tensor(digits.target)[:500]
    torch.manual_seed(0)
    teacher = kd.Teacher(network(256))  # stands for a trained network
    calls = 0

    def live(ids: list[str], views: Tensor, inputs: Tensor) -> kd.Output:
        nonlocal calls
        calls += 1
        output: kd.Output = teacher(inputs)
        return output

    with tempfile.TemporaryDirectory() as folder:
        fingerprint = {"teacher": kd.cache.weights_fingerprint(teacher.model), "views": "4 shifts"}
        cache = kd.TeacherCache(folder, fingerprint=fingerprint)
        ids = [f"digit-{i}" for i in range(len(images))]
        with cache.writer() as writer:
            for v in range(VIEWS):
                views = torch.full((len(ids),), v)
                writer.add(ids, views, live(ids, views, view(images, views)))
        print(f"written: {len(cache.missing(ids, [0] * len(ids)))} missing, {VIEWS} views of {len(ids)} images")
        print(f"runs of the teacher while writing: {calls}")

        calls = 0
        from_teacher = train(images, labels, live)
        print(f"runs while training with it: {calls}")
        calls = 0
        from_cache = train(images, labels, lambda ids, views, inputs: cache.read(ids, views))
        print(f"runs while training from the cache: {calls}")
        gap = max(abs(a - b) for a, b in zip(from_teacher, from_cache, strict=True))
        print(f"last loss {from_teacher[-1]:.4f} and {from_cache[-1]:.4f}; largest difference of any step {gap:.1e}")

        try:
            kd.TeacherCache(folder, fingerprint=fingerprint | {"teacher": "another"})
        except ValueError:
            print("another teacher: refused")


if __name__ == "__main__":
    main()
