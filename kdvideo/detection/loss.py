"""Loss of a detector: classification of the actions and regression of the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kdvideo._extras import needed
from kdvideo.detection.boxes import BoxCoder, check, check_corners
from kdvideo.detection.roi_head import RoIOutput


class DetectionLoss(NamedTuple):
    """The two terms of the loss, to be weighted and added.

    Args:
        actions: binary cross-entropy.
        boxes: smooth L1 of the offsets.

    Examples:
        >>> loss = DetectionLoss(actions=torch.tensor(0.5), boxes=torch.tensor(0.25))
        >>> loss.actions + 2 * loss.boxes
        tensor(1.)
    """

    actions: Tensor
    boxes: Tensor


def match(proposals: Tensor, boxes: Tensor, *, iou: float = 0.5) -> Tensor:
    """Find for each proposal the box that it overlaps most.

    Args:
        proposals: (N, 4).
        boxes: (M, 4); M may be 0.
        iou: the least overlap of a match.

    Returns:
        The number of the box, (N,) int64; -1 where none overlaps by `iou`.

    Raises:
        ValueError: boxes that are not float (N, 4) with x1 <= x2 and y1 <= y2, or `iou` outside (0, 1].

    Examples:
        >>> proposals = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
        >>> match(proposals, torch.tensor([[0.6, 0.0, 1.0, 1.0]]))
        tensor([-1,  0])
    """
    with needed("kdvideo.detection"):
        from torchvision.ops import box_iou  # here: its import takes seconds

    check_corners(proposals, "proposals")
    check_corners(boxes)
    if not 0 < iou <= 1:
        raise ValueError(f"iou must be in (0, 1], got {iou}: the least overlap of a match")
    if not len(boxes):
        return proposals.new_full((len(proposals),), -1, dtype=torch.int64)
    best, index = box_iou(proposals, boxes.to(proposals)).max(1)
    return torch.where(best >= iou, index, -1)


def detection_loss(
    output: RoIOutput,
    proposals: Sequence[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    coder: BoxCoder | None = None,
    iou: float = 0.5,
) -> DetectionLoss:
    """Compute the binary cross-entropy of every proposal, and smooth L1 of the offsets of those that match a box.

    actions = Σₙ Σₖ BCE(logitₙₖ, yₙₖ) / (N·K), where y is the labels of the box that the proposal matches, or 0;
    boxes = Σ over matched n and four offsets of smoothL1(tₙ - encode(proposalₙ, boxₙ)) / N. Without proposals both
    are 0 and still carry a gradient (of zeros), as DistributedDataParallel needs it.

    Args:
        output: for the N proposals of all clips.
        proposals: (N_i, 4) for each clip, as given to the head.
        boxes: ground truth, (M_i, 4) for each clip; M_i may be 0.
        labels: (M_i, K) for each clip, 0 or 1.
        coder: how boxes become offsets; the default is `BoxCoder()`.
        iou: the least overlap of a match.

    Returns:
        The two terms, scalars in float32.

    Raises:
        ValueError: lists of unequal length, parts of the wrong shape, boxes that are not fractions with x1 <= x2 and
            y1 <= y2, or `iou` outside (0, 1].

    Examples:
        >>> proposals, labels = [torch.tensor([[0.1, 0.1, 0.4, 0.9]])], [torch.ones(1, 2)]
        >>> loss = detection_loss(RoIOutput(torch.zeros(1, 2), torch.zeros(1, 4)), proposals, proposals, labels)
        >>> loss.actions, loss.boxes
        (tensor(0.6931), tensor(0.))

    Source:
        Girshick, "Fast R-CNN", ICCV 2015, arXiv 1504.08083 (smooth L1, divided by all proposals).
    """
    _check(output, proposals, boxes, labels)
    logits, offsets = output.logits.float(), output.offsets.float()
    if not len(logits):
        return DetectionLoss(logits.sum(), offsets.sum())
    actions, wanted, matched = [], [], []
    coder = coder or BoxCoder()
    for part, truth, marks in zip(proposals, boxes, labels, strict=True):
        index = match(part, truth, iou=iou)
        has = index >= 0
        target = logits.new_zeros(len(part), logits.shape[1])
        target[has] = marks.to(logits)[index[has]]
        actions.append(target)
        matched.append(has)
        wanted.append(coder.encode(part[has].to(offsets), truth.to(offsets)[index[has]]))
    found = offsets[torch.cat(matched)]
    regression = F.smooth_l1_loss(found, torch.cat(wanted), reduction="sum") / len(offsets)
    return DetectionLoss(F.binary_cross_entropy_with_logits(logits, torch.cat(actions)), regression)


def _check(output: RoIOutput, proposals: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> None:
    if not len(proposals) == len(boxes) == len(labels):
        raise ValueError(
            f"proposals, boxes and labels must be one per clip, got {len(proposals)}, {len(boxes)} and {len(labels)}"
        )
    count, classes = output.logits.shape
    if sum(map(len, proposals)) != count:
        raise ValueError(f"output must have a row per proposal, got {count} for {sum(map(len, proposals))} proposals")
    for truth, marks in zip(boxes, labels, strict=True):
        if truth.shape != (len(truth), 4) or marks.shape != (len(truth), classes):
            raise ValueError(
                f"boxes and labels must be (M, 4) and (M, {classes}), got {tuple(truth.shape)} and {tuple(marks.shape)}"
            )
        check(truth)
