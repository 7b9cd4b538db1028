"""Crop and flip of boxes (x1, y1, x2, y2 as fractions of width and height), and the offsets that a head learns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kdvideo._checks import check_tensor

WHOLE = (0.0, 0.0, 1.0, 1.0)


def hflip(boxes: Tensor) -> Tensor:
    """Flip boxes with the frame: x1, x2 become 1 - x2, 1 - x1.

    Args:
        boxes: (N, 4), fractions of the frame.

    Returns:
        (N, 4).

    Raises:
        ValueError: boxes that are not float (N, 4) of fractions with x1 <= x2 and y1 <= y2.

    Examples:
        >>> hflip(torch.tensor([[0.0, 0.1, 0.25, 0.9]]))
        tensor([[0.7500, 0.1000, 1.0000, 0.9000]])
    """
    check(boxes)
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([1 - x2, y1, 1 - x1, y2], 1)


def crop(
    boxes: Tensor, window: tuple[float, float, float, float], *, min_visible: float = 0.3
) -> tuple[Tensor, Tensor]:
    """Crop boxes to a window of the frame.

    A box is dropped if its center lies outside the window, or if less than `min_visible` of its area is inside (our
    choice; AVA's papers do not give theirs). What stays is cut at the window's border.

    Args:
        boxes: (N, 4), fractions of the frame.
        window: x1, y1, x2, y2 of the crop, within 0 … 1; of a crop of c pixels at (top, left) of H × W:
            (left / W, top / H, (left + c) / W, (top + c) / H).
        min_visible: in [0, 1].

    Returns:
        The M boxes that stay, (M, 4), as fractions of the window, and which they are, (N,) bool.

    Raises:
        ValueError: a window that is not four numbers, has no area or is outside the frame, `min_visible` outside
            [0, 1], or boxes that are not float (N, 4) of fractions with x1 <= x2 and y1 <= y2.

    Examples:
        >>> boxes = torch.tensor([[0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.25, 0.25]])
        >>> crop(boxes, (0.5, 0.0, 1.0, 1.0))
        (tensor([[0.0000, 0.5000, 1.0000, 1.0000]]), tensor([ True, False]))
    """
    check(boxes)
    if len(window) != 4:
        raise ValueError(f"window must be (x1, y1, x2, y2), got {window}: {WHOLE} is the whole frame")
    left, top, right, bottom = window
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1 and 0 <= min_visible <= 1):
        raise ValueError(
            f"window must have 0 <= x1 < x2 <= 1, same for y, and min_visible be in [0, 1], got {window=}, "
            f"{min_visible=}"
        )
    low, high = boxes.new_tensor([left, top]), boxes.new_tensor([right, bottom])
    cut = torch.cat([boxes[:, :2].maximum(low), boxes[:, 2:].minimum(high)], 1)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((center >= low) & (center <= high)).all(1)
    kept = inside & (_area(cut) >= min_visible * _area(boxes)) & (_area(cut) > 0)
    return (cut[kept] - torch.cat([low, low])) / torch.cat([high - low, high - low]), kept


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def check(boxes: Tensor) -> None:
    """Raise `ValueError` unless boxes are float (N, 4), x1 <= x2 and y1 <= y2, at most a frame's size outside it."""
    check_corners(boxes)
    if not bool(((boxes >= -1) & (boxes <= 2)).all()):
        reach = f"{float(boxes.min()):g} … {float(boxes.max()):g}"
        raise ValueError(f"boxes must be fractions of width and height, not pixels, got coordinates in {reach}")


def check_corners(boxes: Tensor, name: str = "boxes") -> None:
    """Raise `ValueError` unless boxes are float (N, 4), x1 <= x2 and y1 <= y2, in any unit."""
    check_tensor(boxes, name)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
        raise ValueError(f"{name} must be float (N, 4): x1, y1, x2, y2, got {tuple(boxes.shape)} of {boxes.dtype}")
    if not bool((boxes[:, :2] <= boxes[:, 2:]).all()):
        raise ValueError(f"{name} must be x1, y1, x2, y2 (not x, y, width, height), got NaN, x1 > x2 or y1 > y2")


@dataclass(frozen=True)
class BoxCoder:
    """Coder between boxes and their offsets from proposals, which a head can learn.

    With center (x, y), width w and height h of a box, and those of the proposal with index p:
    offsets = (a·(x - xₚ)/wₚ, a·(y - yₚ)/hₚ, b·ln(w/wₚ), b·ln(h/hₚ)).

    Args:
        center: a; 10 in Faster R-CNN's code (offsets of a standard deviation of about 1).
        size: b; 5 there.

    Raises:
        ValueError: `center` or `size` is not positive and finite.

    Examples:
        >>> coder, proposal = BoxCoder(), torch.tensor([[0.0, 0.0, 0.5, 0.5]])
        >>> offsets = coder.encode(proposal, torch.tensor([[0.25, 0.0, 0.75, 0.5]]))
        >>> offsets, coder.decode(proposal, offsets)
        (tensor([[5., 0., 0., 0.]]), tensor([[0.2500, 0.0000, 0.7500, 0.5000]]))

    Source:
        Girshick et al., "Rich feature hierarchies", CVPR 2014; Ren et al., "Faster R-CNN", NeurIPS 2015, arXiv
        1506.01497.
    """

    center: float = 10.0
    size: float = 5.0

    def __post_init__(self) -> None:
        if not (0 < self.center < math.inf and 0 < self.size < math.inf):
            raise ValueError(f"center and size must be positive and finite, got {self.center} and {self.size}")

    def encode(self, proposals: Tensor, boxes: Tensor) -> Tensor:
        """Compute the offsets that turn proposals into boxes.

        Args:
            proposals: (N, 4).
            boxes: (N, 4).

        Returns:
            (N, 4).

        Raises:
            ValueError: either is not float (N, 4) with x1 <= x2 and y1 <= y2, or they are of another number.
        """
        check_corners(proposals, "proposals")
        check_corners(boxes)
        if len(proposals) != len(boxes):
            raise ValueError(f"boxes must be one per proposal, got {len(boxes)} for {len(proposals)} proposals")
        (xy_p, wh_p), (xy, wh) = _center_and_size(proposals), _center_and_size(boxes)
        return torch.cat([self.center * (xy - xy_p) / wh_p, self.size * (wh / wh_p).log()], 1)

    def decode(self, proposals: Tensor, offsets: Tensor) -> Tensor:
        """Compute the boxes at offsets from proposals, at most 62.5 times their size; not clipped.

        Args:
            proposals: (N, 4).
            offsets: (N, 4).

        Returns:
            (N, 4).

        Raises:
            ValueError: `proposals` and `offsets` are not both (N, 4).
        """
        if proposals.shape != (len(proposals), 4) or offsets.shape != proposals.shape:
            shapes = f"{tuple(proposals.shape)} and {tuple(offsets.shape)}"
            raise ValueError(f"proposals and offsets must both be (N, 4), got {shapes}")
        xy_p, wh_p = _center_and_size(proposals)
        xy = xy_p + offsets[:, :2] / self.center * wh_p
        half = (offsets[:, 2:] / self.size).clamp(max=math.log(1000 / 16)).exp() * wh_p / 2
        return torch.cat([xy - half, xy + half], 1)


def _center_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6)  # boxes without area have no offsets otherwise
    return (boxes[:, :2] + boxes[:, 2:]) / 2, size
