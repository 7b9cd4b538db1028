"""Rows of boxes, and targets made of them."""

import math

import pytest
import torch

from kdvideo.detection import Annotations, Detections, key_frames

PLACES = torch.tensor([[0.5, 0.1, 0.9, 0.9], [0.1, 0.1, 0.4, 0.9]], dtype=torch.float64)


def annotations(rows: list[tuple[int, float, int, int, int]]) -> Annotations:
    video, second, place, action, person = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Annotations(("a", "b"), video, second.double(), PLACES[place], action, person)


def test_targets_of_key_frames() -> None:
    rows = [(1, 903.0, 0, 12, 4), (0, 902.0, 0, 12, 0), (0, 902.0, 1, 17, 1), (0, 902.0, 0, 80, 0), (0, 902.0, 1, 3, 2)]
    first, second = key_frames(annotations(rows), classes=(80, 12, 17))
    assert (first.video, first.second, second.video, second.second) == ("b", 903.0, "a", 902.0)
    assert first.labels.tolist() == [[0, 1, 0]]
    assert second.labels.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert torch.equal(second.boxes, PLACES[[0, 1, 1]].float())


def test_without_person_ids_a_box_is_a_person() -> None:
    (frame,) = key_frames(annotations([(0, 902.0, 0, 1, -1), (0, 902.0, 1, 2, -1), (0, 902.0, 0, 3, -1)]))
    assert frame.labels.shape == (2, 80)
    assert [row.nonzero().flatten().tolist() for row in frame.labels] == [[0, 2], [1]]


def test_a_class_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        key_frames(annotations([(0, 902.0, 0, 1, -1)]), classes=(1, 1))


def test_detections_from_scores() -> None:
    boxes = torch.tensor([[0.1, 0.1, 0.5, 1.2]], requires_grad=True)
    scores = torch.tensor([[0.25, 0.5]])
    rows = Detections.from_scores(
        [("b", 902, boxes, scores), ("a", 903, torch.zeros(0, 4), torch.zeros(0, 2)), ("b", 904, boxes, scores + 0.25)],
        classes=(7, 3),
    )
    assert rows.videos == ("b", "a")
    assert rows.video.tolist() == [0] * 4
    assert rows.second.tolist() == [902, 902, 904, 904]
    assert rows.action.tolist() == [7, 3, 7, 3]
    assert rows.score.tolist() == [0.25, 0.5, 0.5, 0.75]
    assert rows.boxes.max() == 1
    assert Detections.from_scores([("a", 1, boxes, torch.zeros(1, 80))]).action.tolist() == list(range(1, 81))


def test_ids_count_from_1() -> None:
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.9]])
    with pytest.raises(ValueError, match="action ids must be 1 or more, got 0 in classes"):
        Detections.from_scores([("a", 1, boxes, torch.zeros(1, 80))], classes=range(80))
    with pytest.raises(ValueError, match="twice"):
        Detections.from_scores([("a", 1, boxes, torch.zeros(1, 2))], classes=(3, 3))
    with pytest.raises(ValueError, match="action ids must be 1 or more, got 0 in classes"):
        key_frames(annotations([(0, 902.0, 0, 1, -1)]), classes=range(80))


@pytest.mark.parametrize(
    ("box", "score", "message"),
    [
        ((32.0, 40.0, 310.0, 200.0), 0.5, r"not pixels, got 1 of 1 rows with boxes outside the frame, such as \[32.0"),
        ((1.0, 1.0, 1.0, 1.0), 0.5, "outside the frame"),  # pixels that were clipped before
        ((-0.5, 0.1, -0.1, 0.5), 0.5, "outside the frame"),
        ((0.5, 0.1, 0.4, 0.9), 0.5, r"a, second 902: .* must be finite numbers, with x1 <= x2.*with score 0.5"),
        ((0.1, math.nan, 0.4, 0.9), 0.5, "must be finite numbers"),
        ((0.1, 0.1, 0.4, 0.9), math.nan, "with score nan"),
        ((0.1, 0.1, 0.4, 0.9), math.inf, "with score inf"),
    ],
)
def test_what_clipping_would_hide(box: tuple[float, ...], score: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Detections.from_scores([("a", 902, torch.tensor([box]), torch.tensor([[score]]))], classes=(3,))


def test_some_boxes_may_lie_outside() -> None:
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.9], [1.1, 0.1, 1.5, 0.9]])
    assert Detections.from_scores([("a", 902, boxes, torch.zeros(2, 1))], classes=(3,)).boxes[1].tolist()[::2] == [1, 1]


@pytest.mark.parametrize("shapes", [((2, 4), (1, 80)), ((2, 4), (2, 60)), ((2, 5), (2, 80)), ((4,), (4, 80))])
def test_scores_of_another_shape(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    boxes, scores = map(torch.zeros, shapes)
    with pytest.raises(ValueError, match="a, second 902: boxes"):
        Detections.from_scores([("a", 902, boxes, scores)])
    with pytest.raises(ValueError, match="no key frame"):
        Detections.from_scores([])
