"""When action ids count as shifted."""

import pytest
import torch

from kdvideo.detection import FrameBoxes, FrameMAP, _shift

CLASSES = {1: "sit", 2: "stand"}


def boxes(count: int) -> FrameBoxes:
    """As many boxes of a listed class, and one of another."""
    label = torch.tensor([1] * count + [7])
    return FrameBoxes(torch.zeros(count + 1, dtype=torch.int64), torch.zeros(count + 1, 4), label)


@pytest.mark.parametrize(
    ("mean", "other", "count", "is_shifted"),
    [
        (0.02, 0.11, 10_000, True),
        (0.03, 0.14, 10_000, False),  # less than five times
        (0.0, 0.21, 100, True),
        (0.0, 0.19, 100, False),  # chance gives 2 / √100
        (0.09, 0.9, 100, True),
        (0.11, 0.9, 100, False),  # not low
        (0.0, 1.0, 4, True),
        (0.0, 1.0, 3, False),
    ],
)
def test_far_more_than_chance_gives(monkeypatch, mean: float, other: float, count: int, is_shifted: bool) -> None:
    def measured(truth, detections, *, classes, empty):
        if detections.label[0] == 2:
            raise ValueError("no class in common")
        return FrameMAP(other, {})

    monkeypatch.setattr(_shift, "frame_ap", measured)
    arguments = mean, boxes(count), boxes(1), CLASSES, set()
    if is_shifted:
        with pytest.raises(ValueError, match=rf"is {100 * mean:.1f} %, and {100 * other:.1f} % .* one lower"):
            _shift.check_shift(*arguments)
    else:
        _shift.check_shift(*arguments)
