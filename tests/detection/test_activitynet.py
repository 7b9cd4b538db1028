"""Average precision on tensors."""

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from kdvideo.detection import FrameBoxes, FrameMAP, average_precision
from tests.detection import reference
from tests.detection.reference import Row

CLASSES = {3: "bend", 7: "sit", 11: "stand"}
BOX = (0.1, 0.1, 0.5, 0.9)


def frame_boxes(rows: list[Row], *, scored: bool = True) -> FrameBoxes:
    frame, label, box, score = zip(*rows, strict=True) if rows else ((), (), (), ())
    boxes = torch.tensor(box, dtype=torch.float64).reshape(-1, 4)
    scores = torch.tensor(score, dtype=torch.float64) if scored else None
    return FrameBoxes(torch.tensor(frame, dtype=torch.int64), boxes, torch.tensor(label, dtype=torch.int64), scores)


def ours(truth: list[Row], detections: list[Row], **options: object) -> FrameMAP:
    return average_precision(frame_boxes(truth), frame_boxes(detections), classes=CLASSES, **options)  # type: ignore[arg-type]


def random_rows(draw: random.Random) -> tuple[list[Row], list[Row]]:
    """Ground truth and detections with few different boxes and scores: ties and duplicates everywhere."""
    steps, digits = draw.choice([4, 10, 40]), draw.choice([1, 1, 2, 12])

    def box() -> tuple[float, float, float, float]:
        (x1, x2), (y1, y2) = (sorted(draw.randint(0, steps) / steps for _ in range(2)) for _ in range(2))
        return x1, y1, x2, y2

    places = [box() for _ in range(draw.choice([2, 3, 8]))]
    labels = [*CLASSES, 5] if draw.random() < 0.7 else [3, 11]
    truth = [
        (frame, draw.choice([*CLASSES, 5]), draw.choice(places), float(draw.randint(0, 2)))
        for frame in range(6)
        for _ in range(draw.randint(0, 6))
    ]
    detections = [
        (
            frame,
            draw.choice(labels),
            draw.choice(places) if draw.random() < 0.8 else box(),
            round(draw.random(), digits),
        )
        for frame in range(7)
        for _ in range(draw.choice([0, 5, 30, 130]))
    ]
    if draw.random() < 0.5:
        draw.shuffle(detections)
        draw.shuffle(truth)
    return truth, detections


def test_equals_plain_loops() -> None:
    compared = positive = 0
    for seed in range(400):
        draw = random.Random(seed)
        truth, detections = random_rows(draw)
        keep, empty = draw.choice([50, 50, 7, 1]), {4} if draw.random() < 0.5 else set()
        expected = reference.frame_ap(truth, detections, list(CLASSES), empty, keep)
        try:
            found = ours(truth, detections, keep=keep, empty=empty)
        except ValueError:
            assert not any(value > 0 for value in expected.values()), seed
            continue
        np.testing.assert_allclose(list(found.per_class.values()), list(expected.values()), rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.mean, np.nanmean(list(expected.values())), rtol=0, atol=1e-12)
        compared, positive = compared + 1, positive + (found.mean > 0)
    assert compared > 200
    assert positive > 150


@pytest.mark.parametrize("ids", [{3: -9, 7: 3, 11: 500}, {3: -(10**12), 7: 3, 11: 10**12 + 5000}])
def test_ids_and_frames_may_be_any_whole_numbers(ids: dict[int, int]) -> None:
    """Far apart or below 0; rows of classes that are not listed lie on both sides of those that are."""
    compared = 0
    for seed in range(40):
        draw = random.Random(seed)
        tables = random_rows(draw)
        others, frames = (-(10**13), 4, 10**13), [draw.randint(-(2**50), 2**50) for _ in range(7)]
        known, found = (
            frame_boxes([(frames[row[0]], ids.get(row[1]) or draw.choice(others), *row[2:]) for row in table])
            for table in tables
        )
        try:
            expected = ours(*tables)
        except ValueError:
            continue
        names = {ids[label]: name for label, name in CLASSES.items()}
        assert repr(average_precision(known, found, classes=names)) == repr(expected), seed
        compared += 1
    assert compared > 20


def test_copies_of_a_box_at_the_limit() -> None:
    """Some of many equal rows leave the heap, and the row that is right stands somewhere between the others."""
    wrong, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    truth = [(0, 7, right, 1.0), (1, 7, right, 1.0)]
    for seed in range(100):
        draw = random.Random(seed)
        keep = draw.randint(5, 14)
        rows = [(0, 7, wrong if draw.random() < 0.75 else right, 0.5) for _ in range(keep)]
        rows += [(0, 11, wrong, 0.6)] * draw.randint(2, keep - 2) + [(1, 7, right, 0.5)]
        expected = reference.frame_ap(truth, rows, list(CLASSES), set(), keep)
        assert ours(truth, rows, keep=keep).per_class["sit"] == pytest.approx(expected[7], abs=1e-12)


@pytest.mark.parametrize("turn", [False, True])
def test_boxes_that_overlap_equally_are_taken_as_the_heap_has_them(turn: bool) -> None:
    """Left before right, whatever the file says; so the other detection, which fits the left one only, is too late."""
    people = [(0, 7, (0.0, 0.0, 0.75, 1.0), 1.0), (0, 7, (0.25, 0.0, 1.0, 1.0), 1.0)]
    others = [(1, 7, (0.0, 0.0, 0.5, 0.5), 1.0)]
    found = [
        (1, 11, BOX, 0.1),
        (0, 7, (0.125, 0.0, 0.875, 1.0), 0.9),
        (0, 7, (0.0, 0.0, 0.5, 1.0), 0.8),
    ]
    truth = [*people[::-1], *others] if turn else [*people, *others]
    assert ours(truth, found).per_class["sit"] == pytest.approx(1 / 3)


def test_found_counts_once_and_only_where_it_overlaps_most() -> None:
    truth = [(0, 7, BOX, 0.0)]
    assert ours(truth, [(0, 7, BOX, 0.4)]).per_class["sit"] == 1
    assert ours(truth, [(0, 7, BOX, 0.4), (0, 7, (0.0, 0.0, 0.1, 0.1), 0.9)]).per_class["sit"] == 0.5
    assert ours([*truth, (1, 7, BOX, 0.0)], [(0, 7, BOX, 0.4), (0, 7, BOX, 0.3)]).per_class["sit"] == 0.5
    # The second overlaps the other person too (IoU 0.6), but the first more, who is found already.
    people = [(0, 7, (0.0, 0.0, 0.5, 1.0), 0.0), (0, 7, (0.1, 0.0, 0.7, 1.0), 0.0)]
    twice = [(0, 7, (0.0, 0.0, 0.5, 1.0), 0.9), (0, 7, (0.0, 0.0, 0.55, 1.0), 0.8)]
    assert ours(people, twice).per_class["sit"] == 0.5


@pytest.mark.parametrize(("x2", "ap"), [(0.5, 1.0), (0.4999, 0.0)])
def test_half_an_overlap_is_enough(x2: float, ap: float) -> None:
    assert ours([(0, 7, (0.0, 0.0, 1.0, 1.0), 0.0)], [(0, 7, (0.0, 0.0, x2, 1.0), 0.5)]).per_class["sit"] == ap


def test_fifty_rows_of_a_frame_count() -> None:
    truth = [(0, 7, BOX, 0.0), (1, 7, BOX, 0.0)]
    others = [(0, 11, BOX, 0.9)] * 49
    assert ours(truth, [*others, (0, 7, BOX, 0.5)]).per_class["sit"] == 0.5
    assert ours(truth, [*others, (0, 11, BOX, 0.9), (0, 7, BOX, 0.5), (1, 7, BOX, 0.5)]).per_class["sit"] == 0.5
    assert ours(truth, [*others, (0, 5, BOX, 0.9), (0, 7, BOX, 0.5)]).per_class["sit"] == 0.5  # 5 is not listed


def test_ground_truth_of_other_classes_is_counted() -> None:
    truth = [(0, 7, BOX, 0.0), (0, 5, BOX, 0.0), (1, 6, BOX, 0.0)]
    assert ours(truth, [(0, 7, BOX, 0.5), (0, 5, BOX, 0.9)])[::2] == (1.0, 2)


def test_classes_without_ground_truth_are_no_part_of_the_mean() -> None:
    result = ours([(0, 7, BOX, 0.0), (0, 3, BOX, 0.0)], [(0, 7, BOX, 0.5), (0, 11, BOX, 0.5)])
    assert result.per_class["sit"] == 1
    assert result.per_class["bend"] == 0
    assert math.isnan(result.per_class["stand"])
    assert result.mean == 0.5


def test_frames_without_listed_ground_truth_count_if_named() -> None:
    truth, found = [(0, 7, BOX, 0.0)], [(0, 7, BOX, 0.5), (9, 7, BOX, 0.9)]
    assert ours(truth, found).per_class["sit"] == 1
    assert ours(truth, found, empty=[9]).per_class["sit"] == 0.5
    assert ours([*truth, (9, 5, BOX, 0.0)], found).per_class["sit"] == 0.5


def test_boxes_may_be_in_any_unit_that_both_share() -> None:
    far = (900.0, 40.0, 950.0, 200.0)
    assert ours([(0, 7, PIXELS, 0.0)], [(0, 7, PIXELS, 0.5)]).mean == 1
    assert ours([(0, 7, PIXELS, 0.0)], [(0, 7, far, 0.5)]).mean == 0


def test_names_given_twice_are_told_apart() -> None:
    rows = frame_boxes([(0, 79, BOX, 0.5)])
    assert list(average_precision(rows, rows, classes={79: "talk", 80: "talk", 3: "sit"}).per_class) == [
        "talk (79)",
        "talk (80)",
        "sit",
    ]


def test_takes_what_a_network_gives() -> None:
    truth, found = frame_boxes([(0, 7, BOX, 0.0)], scored=False), frame_boxes([(0, 7, BOX, 0.5)])
    weights = found.score.float().requires_grad_()
    half = FrameBoxes(found.frame.int(), found.boxes.float(), found.label.int(), weights * 1)
    assert average_precision(truth, half, classes=CLASSES).mean == 1


TRUTH = [(0, 7, BOX, 0.0)]
CROSSED = [(0, 7, BOX, 0.0), (1, 3, BOX, 0.0)]
REVERSED = (0.5, 0.1, 0.1, 0.9)
FLAT = (0.5, 0.1, 0.5, 0.9)
PIXELS = (32.0, 40.0, 310.0, 200.0)
UNEVEN = frame_boxes(TRUTH)._replace(boxes=torch.zeros(2, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ours(TRUTH, []), "no detection of the 3 listed classes"),
        (lambda: ours(TRUTH, [(0, 5, BOX, 0.5)]), "count from 1"),
        (lambda: ours([(0, 5, BOX, 0.5)], [(0, 7, BOX, 0.5)]), "no ground truth of the 3 listed"),
        (lambda: ours(TRUTH, [(1, 7, BOX, 0.5)]), "seconds"),
        (
            lambda: ours(TRUTH, [(0, 3, BOX, 0.5)]),
            r"nowhere do ground truth \(ids 7\) and detections \(ids 3\) have a class in common",
        ),
        (lambda: ours(CROSSED, [(0, 3, BOX, 0.5), (1, 7, BOX, 0.5)]), "on no key frame .* a class in common"),
        (lambda: ours(TRUTH, [(0, 7, FLAT, 0.5)]), "got no box of the detections that has an area"),
        (lambda: ours([(0, 7, FLAT, 0.0)], [(0, 7, BOX, 0.5)]), "got no box of the ground truth that has an area"),
        (
            lambda: ours(TRUTH, [(0, 7, PIXELS, 0.5)]),
            "boxes that reach to 0.9 in the ground truth and 310 in the detections",
        ),
        (lambda: ours([(0, 7, PIXELS, 0.5)], TRUTH), "boxes that reach to 310 in the ground truth and 0.9 in the"),
        (lambda: ours(TRUTH, [(0, 7, BOX, math.nan)]), "detections: .* got NaN"),
        (lambda: ours(TRUTH, [(0, 7, REVERSED, 0.5)]), "detections: boxes must have x1 <= x2"),
        (lambda: ours([(0, 7, (math.nan, 0.1, 0.5, 0.9), 0.0)], TRUTH), "truth: .* got NaN"),
        (lambda: ours(TRUTH, TRUTH, iou=0.0), "iou=0"),
        (lambda: ours(TRUTH, TRUTH, keep=0), "keep=0"),
        (lambda: average_precision(frame_boxes(TRUTH), frame_boxes(TRUTH), classes={}), "classes={}"),
        (
            lambda: average_precision(frame_boxes(TRUTH), frame_boxes(TRUTH), classes=["sit"]),
            r"classes must map ids to names, got a list of length 1: dict\(enumerate\(names, 1\)\)",
        ),
        (
            lambda: average_precision(frame_boxes(TRUTH), frame_boxes(TRUTH, scored=False), classes=CLASSES),
            "must have a score",
        ),
        (lambda: average_precision(UNEVEN, frame_boxes(TRUTH), classes=CLASSES), r"truth: .*\(2, 4\)"),
    ],
)
def test_what_cannot_be_evaluated(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
