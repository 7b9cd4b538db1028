"""Distill a pair of encoders, of images and of texts, as in CLIP.

Two handwritten digits side by side, and the caption that spells them, "seven three". Embeddings are matched within a
batch; the student learns the teacher's matching of all pairs with all, for which their widths need not agree:

    L = contrastive(s) + KL of the softmax over similarities, image to text and text to image [ContrastiveRelations]

Both embeddings are tapped; there are no logits. The GRU of the texts returns a tuple, whose state `select` takes.
Settings were chosen on digits that are not tested on.

    python examples/clip_pair.py      # needs scikit-learn, which brings the images

Yang, An, Huang et al., "CLIP-KD: An Empirical Study of CLIP Model Distillation", 2024, arXiv 2307.12732.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

from statistics import mean, stdev
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd

SEEDS, STEPS, TEMPERATURE = (0, 1, 2), 200, 0.1
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEXTS = [f"{left} {right}".rjust(11) for left in WORDS for right in WORDS]
CAPTIONS = torch.tensor([list(text.encode()) for text in TEXTS])
FEW, MANY, TEST = 150, 2000, 500  # pairs
TRAIN_DIGITS, TEST_DIGITS = slice(0, 1000), slice(1300, None)


class Pair(nn.Module):
    """Encoders of images (B, 1, 8, 16) and of captions (B, N), whose embeddings have one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Flatten(), nn.Linear(128, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.letters, self.text = nn.Embedding(128, 16), nn.GRU(16, width, batch_first=True)

    def forward(self, images: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both embeddings, (B, width) each."""
        return self.image(images), last_state(self.text(self.letters(captions)))


def last_state(output: tuple[Tensor, Tensor]) -> Tensor:
    """Return the last state of a GRU from what it returns."""
    return output[1][0]


def draw(digits: Tensor, classes: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw pairs of digits: images, captions as numbers of characters, and the number 0 to 99 that they show."""
    which = torch.randint(len(digits), (count, 2))
    numbers = 10 * classes[which[:, 0]] + classes[which[:, 1]]
    return torch.cat([digits[which[:, 0]], digits[which[:, 1]]], 2)[:, None], CAPTIONS[numbers], numbers


TAPS: dict[str, Any] = {"layers": ("image", "text"), "select": {"text": last_state}, "logits": None}


def contrastive(output: kd.Output) -> Tensor:
    """Compute CLIP's loss: every image finds its text in the batch, every text its image."""
    image, text = (F.normalize(output.features[role], dim=1) for role in ("image", "text"))
    scores, own = image @ text.T / TEMPERATURE, torch.arange(len(image))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def train(pair: kd.Student, images: Tensor, captions: Tensor, teacher: kd.Teacher | None = None) -> kd.Student:
    """Train on pairs, with a teacher also on its matching of the batch."""
    criterion = kd.ContrastiveRelations(temperature=TEMPERATURE, teacher_temperature=TEMPERATURE)
    optimizer = torch.optim.Adam(pair.parameters(), lr=3e-3)
    for _ in range(STEPS):
        batch = torch.randint(len(images), (64,))
        s = pair(images[batch], captions[batch])
        loss = contrastive(s)
        if teacher is not None:
            loss = loss + criterion(s, teacher(images[batch], captions[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return pair


@torch.no_grad()
def accuracy(pair: nn.Module, images: Tensor, numbers: Tensor) -> float:
    """Compute how often an image is nearest to its own one of the 100 captions, in percent."""
    image, _ = pair(images, CAPTIONS[numbers])
    _, text = pair(images[:100], CAPTIONS)
    return 100 * float(((image @ F.normalize(text, dim=1).T).argmax(1) == numbers).float().mean())


def main() -> None:
    """Train teacher and students for each seed and print how often they find the caption."""
    data = load_digits()
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))
    digits, classes = torch.tensor(data.images, dtype=torch.float32)[order] / 8 - 1, torch.tensor(data.target)[order]
    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        torch.manual_seed(seed)
        images, captions, _ = draw(digits[TRAIN_DIGITS], classes[TRAIN_DIGITS], MANY)
        seen, _, numbers = draw(digits[TEST_DIGITS], classes[TEST_DIGITS], TEST)
        teacher = kd.Teacher(train(kd.Student(Pair(64), **TAPS), images, captions).model, **TAPS)
        rows.setdefault(f"teacher, {MANY} pairs", []).append(accuracy(teacher.model, seen, numbers))
        for name, its_teacher in (("student alone", None), ("student taught", teacher)):
            torch.manual_seed(seed)  # the same first weights and batches
            pair = train(kd.Student(Pair(24), **TAPS), images[:FEW], captions[:FEW], its_teacher).model
            rows.setdefault(f"{name}, {FEW} pairs", []).append(accuracy(pair, seen, numbers))
    print(f"images that find their caption of 100, in percent, mean ± standard deviation of {len(SEEDS)} seeds:")
    for name, values in rows.items():
        print(f"  {name:<26} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
