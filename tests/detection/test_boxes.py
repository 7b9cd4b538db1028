"""Boxes under crop and mirror, and their offsets."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdvideo.data import Window
from kdvideo.detection import BoxCoder, crop, hflip
from kdvideo.detection.boxes import WHOLE

DYADIC = st.integers(0, 256).map(lambda number: number / 256)  # sums and products of these are exact
BOX = st.tuples(DYADIC, DYADIC, DYADIC, DYADIC)
BOXES = st.lists(BOX, max_size=6).map(lambda rows: ordered(torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)))


def ordered(boxes: Tensor) -> Tensor:
    return torch.cat([boxes[:, :2].minimum(boxes[:, 2:]), boxes[:, :2].maximum(boxes[:, 2:])], 1)


def area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


@settings(deadline=None, max_examples=50)
@given(boxes=BOXES)
def test_mirroring_twice_is_the_identity(boxes: Tensor) -> None:
    mirrored = hflip(boxes)
    assert torch.equal(hflip(mirrored), boxes)
    assert torch.equal(mirrored[:, [1, 3]], boxes[:, [1, 3]])
    assert torch.equal(mirrored[:, 0] + mirrored[:, 2], 2 - boxes[:, 0] - boxes[:, 2])
    assert bool((mirrored[:, 0] <= mirrored[:, 2]).all())


@settings(deadline=None, max_examples=50)
@given(boxes=BOXES)
def test_cropping_to_the_whole_is_the_identity(boxes: Tensor) -> None:
    cropped, kept = crop(boxes, WHOLE)
    assert kept.tolist() == (area(boxes) > 0).tolist()
    assert torch.equal(cropped, boxes[kept])


@settings(deadline=None, max_examples=50)
@given(boxes=BOXES, window=BOX, least=st.sampled_from([0.0, 0.3, 1.0]))
def test_cropping(boxes: Tensor, window: tuple[float, ...], least: float) -> None:
    (x1, y1, x2, y2) = place = tuple(ordered(torch.tensor([window], dtype=torch.float64))[0].tolist())
    if x1 == x2 or y1 == y2:
        return
    cropped, kept = crop(boxes, place, min_visible=least)
    scale = torch.tensor([x2 - x1, y2 - y1] * 2)
    back = cropped * scale + torch.tensor([x1, y1, x1, y1])
    torch.testing.assert_close(back, boxes[kept].clamp(*torch.tensor([[x1, y1] * 2, [x2, y2] * 2]).double()))
    for box, stays in zip(boxes.tolist(), kept.tolist(), strict=True):
        center = x1 <= (box[0] + box[2]) / 2 <= x2 and y1 <= (box[1] + box[3]) / 2 <= y2
        seen = max(0, min(box[2], x2) - max(box[0], x1)) * max(0, min(box[3], y2) - max(box[1], y1))
        assert stays == (center and seen > 0 and seen >= least * (box[2] - box[0]) * (box[3] - box[1]))
    mirrored, kept_mirrored = crop(hflip(boxes), (1 - x2, y1, 1 - x1, y2), min_visible=least)
    assert torch.equal(kept_mirrored, kept)
    torch.testing.assert_close(mirrored, hflip(cropped))


def test_boxes_follow_the_pixels_of_a_view() -> None:
    """A bright rectangle, and the box round it, through the crop and flip of the clips."""
    frames = torch.zeros(1, 1, 40, 60)
    frames[..., 10:24, 20:32] = 1
    view = Window(start=0, top=6, left=12, crop=30, flip=True, frames=1)
    boxes, _ = crop(torch.tensor([[20 / 60, 10 / 40, 32 / 60, 24 / 40]]), (12 / 60, 6 / 40, 42 / 60, 36 / 40))
    x1, y1, x2, y2 = (hflip(boxes)[0] * 30).round().int().tolist()
    seen = view.cut(frames, torch.tensor([0]))[0, 0]
    assert seen[y1:y2, x1:x2].min() == 1
    assert seen.sum() == (y2 - y1) * (x2 - x1) == 14 * 12


@pytest.mark.parametrize("window", [(0.5, 0, 0.5, 1), (0, 0.6, 1, 0.5), (-0.1, 0, 1, 1), (0, 0, 32, 32)])
def test_bad_windows(window: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="window"):
        crop(torch.zeros(1, 4), window)
    with pytest.raises(ValueError, match=r"window must be \(x1, y1, x2, y2\), got \(0, 0, 1\)"):
        crop(torch.zeros(1, 4), (0, 0, 1))
    with pytest.raises(ValueError, match="min_visible=2"):
        crop(torch.zeros(1, 4), WHOLE, min_visible=2)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (torch.zeros(4), r"\(4,\)"),
        (torch.zeros(2, 5), r"\(2, 5\)"),
        (torch.zeros(2, 4, dtype=torch.int64), "int64"),
        (torch.tensor([[0.5, 0.1, 0.4, 0.9]]), "x1 > x2"),
        (torch.tensor([[0.5, 0.1, 0.6, math.nan]]), "NaN"),
        (torch.tensor([[0.5, 0.1, 0.6, 0.9], [3.0, 2.0, 31.0, 20.0]]), "not pixels, got coordinates in 0.1 … 31"),
        (torch.tensor([[-9.0, 0.1, 0.6, 0.9]]), "in -9 … 0.9"),
    ],
)
def test_not_boxes(boxes: Tensor, message: str) -> None:
    for function in (hflip, lambda b: crop(b, WHOLE)):
        with pytest.raises(ValueError, match=message):
            function(boxes)


def test_offsets_as_defined() -> None:
    proposal, box = torch.tensor([[[0.2, 0.1, 0.4, 0.6]], [[0.1, 0.3, 0.6, 0.5]]], dtype=torch.float64)
    expected = [[7 * (0.35 - 0.3) / 0.2, 7 * (0.4 - 0.35) / 0.5, 3 * math.log(0.5 / 0.2), 3 * math.log(0.2 / 0.5)]]
    offsets = BoxCoder(center=7, size=3).encode(proposal, box)
    torch.testing.assert_close(offsets, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    assert (BoxCoder().center, BoxCoder().size) == (10, 5)


@settings(deadline=None, max_examples=50)
@given(boxes=BOXES, seed=st.integers(0, 99))
def test_decoding_undoes_encoding(boxes: Tensor, seed: int) -> None:
    boxes = boxes[area(boxes) > 0]
    corner = torch.rand(len(boxes), 2, generator=torch.Generator().manual_seed(seed)).double() / 2
    proposals = torch.cat([corner, corner + 0.1 + corner.flip(1)], 1)
    torch.testing.assert_close(BoxCoder().decode(proposals, BoxCoder().encode(proposals, boxes)), boxes)
    torch.testing.assert_close(BoxCoder().decode(proposals, torch.zeros_like(boxes)), proposals)


@pytest.mark.parametrize("numbers", [{"center": 0}, {"size": 0}, {"center": -1}, {"size": math.inf}])
def test_a_coder_of_no_scale_is_refused(numbers: dict[str, float]) -> None:
    """Fails when the numbers are not checked: boxes decoded by `center=0` are inf."""
    with pytest.raises(ValueError, match="center and size must be positive and finite"):
        BoxCoder(**numbers)


def test_what_has_no_offsets_is_refused() -> None:
    """Fails when the coder takes any boxes: offsets of x, y, width, height lead to another box."""
    boxes = torch.tensor([[0.1, 0.2, 0.4, 0.6], [0.3, 0.3, 0.5, 0.7]])
    sizes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    with pytest.raises(ValueError, match="boxes must be x1, y1, x2, y2"):
        BoxCoder().encode(boxes, sizes)
    with pytest.raises(ValueError, match="proposals must be x1, y1, x2, y2"):
        BoxCoder().encode(sizes, boxes)
    with pytest.raises(ValueError, match="one per proposal, got 1 for 2"):
        BoxCoder().encode(boxes, boxes[:1])
    for proposals, offsets in ((boxes, boxes[:1]), (boxes[0], boxes[0])):
        with pytest.raises(ValueError, match=r"proposals and offsets must both be \(N, 4\)"):
            BoxCoder().decode(proposals, offsets)


def test_offsets_stay_finite() -> None:
    flat, tall = torch.tensor([[0.5, 0.5, 0.5, 0.5]]), torch.tensor([[0.4, 0.0, 0.6, 1.0]])
    assert BoxCoder().encode(flat, tall).isfinite().all()
    assert BoxCoder().encode(tall, flat).isfinite().all()
    grown = BoxCoder().decode(tall, torch.full((1, 4), 1e4))
    torch.testing.assert_close(grown[:, 2:] - grown[:, :2], torch.tensor([[12.5, 62.5]]), rtol=1e-3, atol=0)
