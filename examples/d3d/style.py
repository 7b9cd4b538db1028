"""What the pictures of a report share: colors, how one is written, and the wheel of flow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor

from kdvideo import flow

matplotlib.use("Agg")
from matplotlib import pyplot as plt

# Of Okabe and Ito, which all kinds of color vision tell apart; an opaque light ground is readable on dark pages too.
COLORS = {"rgb": "#0072B2", "flow": "#009E73", "d3d": "#D55E00", "both": "#777777"}
RIGHT, WRONG = ("✓", "#0072B2"), ("✗", "#D55E00")
GROUND = "#fafafa"


def save(figure: Any, path: Path) -> None:
    """Write a picture and forget it."""
    figure.set_facecolor(GROUND)
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def picture(image: Tensor) -> Any:
    """Return what matplotlib draws of an image (3, H, W): uint8, or float in [-1, 1]."""
    if image.is_floating_point():
        image = ((image + 1) / 2).clamp(0, 1)
    return image.permute(1, 2, 0).numpy()


def wheel(axis: Any, fastest: float, *, size: int = 96) -> None:
    """Draw the colors of flow on a disc: each shows the motion from the middle to it; the rim is the fastest."""
    steps = torch.linspace(-1, 1, size)
    field = torch.stack(torch.meshgrid(steps, steps, indexing="xy")) * fastest
    outside = field.norm(dim=0) > fastest
    disc = flow.to_image(field, max_magnitude=fastest).float()
    disc[:, outside] = 255 * float(matplotlib.colors.to_rgb(GROUND)[0])
    axis.imshow(disc.to(torch.uint8).permute(1, 2, 0).numpy())
    axis.set_title(f"rim: {round_up(fastest):g} px a frame", fontsize=8)
    axis.axis("off")


def round_up(value: float) -> float:
    """Round up to one decimal."""
    return math.ceil(10 * value - 1e-6) / 10


def verdict(guess: str, truth: str) -> tuple[str, str]:
    """Return the text of a guess with its mark, and its color."""
    mark, color = RIGHT if guess == truth else WRONG
    return f"{mark} {guess}", color
