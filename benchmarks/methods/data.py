"""What a seed draws for the ranking: images of digits, or clips of drifting textures with their flow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor
from torch.nn import functional as F

from examples import two_inputs

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
