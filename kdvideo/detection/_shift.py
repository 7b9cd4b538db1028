"""Action ids that are off by one: the number of a class's output, say, instead of its id."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from kdvideo.detection.average_precision import FrameBoxes, frame_ap

LOW = 0.1  # mAP above this is not looked at
TIMES = 5
# Of 21,200 evaluations of random detectors on 3 to 90 boxes, none was taken for shifted; with 1.5 it were 12.
DEVIATIONS = 2.0


def check_shift(
    mean: float,
    truth: FrameBoxes,
    detections: FrameBoxes,
    classes: Mapping[int, str],
    empty: Collection[int],
) -> None:
    """Raise `ValueError` where ids one higher or lower would give far more than `mean`.

    Far: five times as much, and by 2 / √N of the N boxes of listed classes, which chance does not give.
    """
    if mean >= LOW:
        return
    count = int(np.isin(truth.label.numpy(), list(classes)).sum())
    for step, way in ((1, "higher"), (-1, "lower")):
        shifted = detections._replace(label=detections.label + step)
        try:
            other = frame_ap(truth, shifted, classes=classes, empty=empty).mean
        except ValueError:  # no class in common, that way
            continue
        if other >= TIMES * mean and other - mean >= DEVIATIONS / math.sqrt(count):
            raise ValueError(
                f"frame-mAP is {100 * mean:.1f} %, and {100 * other:.1f} % with the detections' action ids one {way}: "
                "are they shifted? Ids are those of the label map, which count from 1, not places in a list"
            )
