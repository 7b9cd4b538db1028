"""The pairs of the ranking, and what there is of one at a seed: its data, and a trained teacher with its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

import kdvideo as kd
from benchmarks.methods.data import (
    CLIPS,
    CROP,
    STUDENT_IMAGES,
    TEACHER_IMAGES,
    TEST_CLIPS,
    TEST_IMAGES,
    VIEWS,
    Draw,
    digits,
    drifting,
)
from benchmarks.methods.networks import ConvNet, Network, ViT, taps
from examples import two_inputs
from kdvideo.losses import Paraphraser

ROLES = ("early", "middle", "before_relu", "late", "pooled")
BATCH = 32


@dataclass(frozen=True)
class Pair:
    """Two networks and their data.

    Args:
        name: of the record.
        text: what a reader of the table must know of data and networks.
        axes: of the feature maps.
        draw: seed -> data.
        teacher, student: make the networks.
        teacher_steps, teacher_rate: of the teacher's training.
        steps: of the student's.
        rates: the learning rates of which the student alone, and methods without a weight, take the best.
    """

    name: str
    text: str
    axes: int
    draw: Callable[[int], Draw]
    teacher: Callable[[], Network]
    student: Callable[[], Network]
    teacher_steps: int
    teacher_rate: float
    steps: int
    rates: tuple[float, ...]


class Lesson:
    """A pair at one seed: the data, and the trained teacher with its outputs for every view of the student.

    Args:
        pair: whose teacher is trained here, a few seconds.
        seed: of everything that is drawn.
    """

    def __init__(self, pair: Pair, seed: int) -> None:
        self.pair, self.seed, self.data = pair, seed, pair.draw(seed)
        self.labels = self.data.student[1]
        torch.manual_seed(seed)
        self.network = pair.teacher()
        fit(self.network, *self.data.teacher, steps=pair.teacher_steps, rate=pair.teacher_rate, seed=seed)
        self.teacher = kd.Teacher(self.network, **taps(self.network, ROLES))
        self.outputs: kd.Output = self.teacher(self.data.views)
        self.widths = pair.student().widths, self.network.widths
        logits = self.teacher(self.data.teacher_validation).logits
        assert logits is not None
        self.teacher_accuracy = accuracy(logits, self.data.validation[1])

    def channels(self, *roles: str) -> tuple[list[int], list[int]]:
        """Return the channels of the student's and of the teacher's features."""
        student, teacher = ([widths[role] for role in roles] for widths in self.widths)
        return student, teacher

    @cached_property
    def paraphraser(self) -> Paraphraser:
        """The autoencoder of the teacher's late map that factor transfer needs, trained for 100 steps."""
        features = self.outputs.features["late"]
        torch.manual_seed(self.seed)
        paraphraser = Paraphraser(features.shape[1], axes=self.pair.axes)
        optimizer = torch.optim.Adam(paraphraser.parameters(), lr=3e-3, fused=True)
        for index in batches(len(features), 100, self.seed):
            optimizer.zero_grad()
            paraphraser.reconstruction(features[index]).backward()
            optimizer.step()
        return paraphraser


def fit(network: Network, inputs: Tensor, labels: Tensor, *, steps: int, rate: float, seed: int) -> None:
    """Train on labels with Adam and one cycle of the learning rate; leave the network in evaluation mode."""
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for index in batches(len(inputs), steps, seed):
        optimizer.zero_grad()
        F.cross_entropy(network(inputs[index]), labels[index]).backward()
        optimizer.step()
        schedule.step()
    network.eval()


def batches(count: int, steps: int, seed: int) -> list[Tensor]:
    """Draw the samples of every step, without repetition in a batch."""
    generator = Generator().manual_seed(seed)
    return [torch.randperm(count, generator=generator)[:BATCH] for _ in range(steps)]


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((logits.argmax(1) == labels).double().mean())


_DIGITS = (
    f"scikit-learn's digits, 8 × 8 pixels: the teacher learns from {TEACHER_IMAGES} images, the student from "
    f"{STUDENT_IMAGES} of them in {VIEWS} shifted and noisy views; {TEST_IMAGES} test images, the same for all seeds"
)
_CNN = partial(ConvNet, 1, classes=10, axes=2, strides=(1, 2))
_LARGE_CNN, _SMALL_CNN = partial(_CNN, (32, 64)), partial(_CNN, (8, 16))
_LARGE_VIT, _SMALL_VIT = partial(ViT, 48, 3, 10), partial(ViT, 32, 2, 10)
_CONV_RATES, _VIT_RATES = (5e-3, 1e-2, 2e-2, 4e-2), (1.5e-3, 3e-3, 6e-3, 1.2e-2)
_VIDEO = partial(ConvNet, classes=two_inputs.CLASSES, axes=3, strides=(2, 2))

PAIRS: Mapping[str, Pair] = {
    pair.name: pair
    for pair in (
        Pair(
            "images",
            f"{_DIGITS}. Both convolutional, the teacher four times as wide.",
            *(2, digits, _LARGE_CNN, _SMALL_CNN, 300, 5e-3, 160, _CONV_RATES),
        ),
        Pair(
            "video",
            f"Drifting textures (those of `examples/two_inputs.py`), {two_inputs.FRAMES} frames of {CROP} × {CROP} "
            f"pixels, 8 directions: the teacher learns from the TV-L1 flow of {CLIPS} clips, the student from their "
            f"RGB; {TEST_CLIPS} test clips, other ones for each seed. Both convolutional (3-D), the teacher twice as "
            "wide.",
            *(3, drifting, partial(_VIDEO, 2, (16, 32)), partial(_VIDEO, 3, (8, 16)), 200, 6e-3, 100, _CONV_RATES),
        ),
        Pair(
            "cnn_to_vit",
            f"{_DIGITS}. A convolutional teacher; the student is a vision transformer of two blocks, 32 wide.",
            *(2, digits, _LARGE_CNN, _SMALL_VIT, 300, 5e-3, 120, _VIT_RATES),
        ),
        Pair(
            "vit_to_cnn",
            f"{_DIGITS}. The teacher is a vision transformer of three blocks, 48 wide; the student is convolutional.",
            *(2, digits, _LARGE_VIT, _SMALL_CNN, 400, 3e-3, 160, _CONV_RATES),
        ),
    )
}
