"""The pairs of the ranking, and what a seed draws of them: images or clips, and a trained teacher with its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor
from torch.nn import functional as F

import kdvideo as kd
from benchmarks.methods.networks import ConvNet, Network, ViT, taps
from examples import two_inputs
from kdvideo.losses import Paraphraser

ROLES = ("early", "middle", "before_relu", "late", "pooled")
BATCH = 32
TEST_IMAGES, TEACHER_IMAGES, STUDENT_IMAGES, VIEWS = 597, 900, 150, 8
CLIPS, TEST_CLIPS, CROP = 256, 512, 16

Labeled = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Draw:
    """Data of one seed: what the teacher learns from, what the student does, and what both are measured on.

    `views` are those that the teacher sees while the student sees `student`.
    """

    teacher: Labeled
    student: Labeled
    views: Tensor
    validation: Labeled
    test: Labeled
    teacher_validation: Tensor


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


def digits(seed: int) -> Draw:
    """Draw images of scikit-learn's digits; the test images are always the same, and nobody else sees them."""
    known = load_digits()
    images = torch.tensor(known.images).float().unsqueeze(1) / 8 - 1
    labels = torch.tensor(known.target)
    fixed = torch.randperm(len(images), generator=Generator().manual_seed(0))
    test, others = fixed[:TEST_IMAGES], fixed[TEST_IMAGES:]
    generator = Generator().manual_seed(seed)
    others = others[torch.randperm(len(others), generator=generator)]
    learned, validation = others[:TEACHER_IMAGES], others[TEACHER_IMAGES:]
    few = learned[:STUDENT_IMAGES].repeat(VIEWS)
    views = _moved(images[few], generator)
    many = learned.repeat(VIEWS // 2)
    return Draw(
        teacher=(_moved(images[many], generator), labels[many]),
        student=(views, labels[few]),
        views=views,
        validation=(images[validation], labels[validation]),
        test=(images[test], labels[test]),
        teacher_validation=images[validation],
    )


def _moved(images: Tensor, generator: Generator) -> Tensor:
    """Shift each image by up to one pixel and add noise."""
    size = images.shape[-1]
    wide = F.pad(images, (1, 1, 1, 1), value=-1.0)
    corners = torch.randint(0, 3, (len(images), 2), generator=generator).tolist()
    moved = [one[:, y : y + size, x : x + size] for one, (y, x) in zip(wide, corners, strict=True)]
    return torch.stack(moved) + 0.2 * torch.randn(images.shape, generator=generator)


def drifting(seed: int) -> Draw:
    """Draw the clips of `examples/two_inputs.py`, cropped: RGB for the student, their TV-L1 flow for the teacher."""
    counts = {"student": CLIPS, "validation": CLIPS, "test": TEST_CLIPS}
    drawn = {name: two_inputs.clips(count, seed=3 * seed + k) for k, (name, count) in enumerate(counts.items())}
    rgb = {name: (_crop(clips), labels) for name, (clips, labels) in drawn.items()}
    flow = {name: _crop(two_inputs.flow_of(drawn[name][0])) for name in ("student", "validation")}
    # Flow has one step less than the clip; its last one twice gives both networks the same positions.
    flow = {name: torch.cat([motion, motion[:, :, -1:]], 2) for name, motion in flow.items()}
    return Draw(
        teacher=(flow["student"], rgb["student"][1]),
        views=flow["student"],
        teacher_validation=flow["validation"],
        **rgb,
    )


def _crop(clips: Tensor) -> Tensor:
    first = (clips.shape[-1] - CROP) // 2
    return clips[..., first : first + CROP, first : first + CROP].contiguous()


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
