"""The loss of a detector."""

import math

import pytest
import torch
from torch import Tensor

from kdvideo.detection import BoxCoder, RoIOutput, detection_loss, match

PROPOSALS = [torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]), torch.tensor([[0.2, 0.2, 0.6, 0.6]])]
TRUTH = [torch.tensor([[0.4, 0.0, 1.0, 1.0], [0.45, 0.0, 1.0, 1.0]]), torch.zeros(0, 4)]
LABELS = [torch.tensor([[0.0, 0, 1], [1, 1, 0]]), torch.zeros(0, 3)]


def output(seed: int = 0, count: int = 3) -> RoIOutput:
    draw = torch.Generator().manual_seed(seed)
    logits, offsets = torch.randn(count, 3, generator=draw), 2 * torch.randn(count, 4, generator=draw)
    return RoIOutput(logits.requires_grad_(), offsets.requires_grad_())


def test_match_takes_the_largest_overlap() -> None:
    assert match(PROPOSALS[0], TRUTH[0]).tolist() == [-1, 1]
    assert match(PROPOSALS[0], TRUTH[0], iou=0.09).tolist() == [0, 1]
    assert match(PROPOSALS[0], TRUTH[0], iou=0.95).tolist() == [-1, -1]
    assert match(PROPOSALS[0], torch.tensor([[0.0, 0.0, 0.25, 1.0]])).tolist() == [0, -1]  # IoU 0.5 is enough
    assert match(PROPOSALS[0], TRUTH[1]).tolist() == [-1, -1]
    assert match(TRUTH[1], TRUTH[0]).tolist() == []


def test_value_by_hand() -> None:
    found = output()
    loss = detection_loss(found, PROPOSALS, TRUTH, LABELS)
    targets = [[0, 0, 0], [1, 1, 0], [0, 0, 0]]  # only the second proposal matches a person, the second one
    total = 0.0
    for row, wanted in zip(found.logits.tolist(), targets, strict=True):
        for logit, label in zip(row, wanted, strict=True):
            probability = 1 / (1 + math.exp(-logit))
            total -= math.log(probability if label else 1 - probability)
    assert loss.actions.item() == pytest.approx(total / 9, rel=1e-5)
    goal = BoxCoder().encode(PROPOSALS[0][1:], TRUTH[0][1:])[0]
    errors = (found.offsets[1] - goal).abs().tolist()
    smooth = sum(error**2 / 2 if error < 1 else error - 0.5 for error in errors)
    assert loss.boxes.item() == pytest.approx(smooth / 3, rel=1e-5)
    assert min(errors) < 1 < max(errors)


def test_exact_offsets_cost_nothing() -> None:
    coder = BoxCoder(2.0, 3.0)
    exact = RoIOutput(torch.zeros(1, 3), coder.encode(PROPOSALS[0][1:], TRUTH[0][1:]))
    loss = detection_loss(exact, [PROPOSALS[0][1:]], TRUTH[:1], LABELS[:1], coder=coder)
    assert loss.boxes == 0
    assert detection_loss(exact, [PROPOSALS[0][1:]], TRUTH[:1], LABELS[:1]).boxes > 0


@pytest.mark.parametrize("proposals", [[torch.zeros(0, 4)] * 2, [torch.zeros(0, 4), PROPOSALS[1]]])
def test_nothing_to_match(proposals: list[Tensor]) -> None:
    found = output(count=sum(map(len, proposals)))
    loss = detection_loss(found, proposals, TRUTH, LABELS)
    assert loss.boxes == 0
    (loss.actions + loss.boxes).backward()
    assert found.offsets.grad is not None
    assert (found.offsets.grad == 0).all()
    assert found.logits.grad is not None
    assert loss.actions.isfinite()


def test_half_precision_is_summed_in_float32() -> None:
    found = output()
    half = RoIOutput(found.logits.bfloat16(), found.offsets.bfloat16())
    loss = detection_loss(half, PROPOSALS, TRUTH, LABELS)
    assert (loss.actions.dtype, loss.boxes.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize(
    ("proposals", "truth", "labels", "message"),
    [
        (PROPOSALS, TRUTH[:1], LABELS, "must be one per clip, got 2, 1 and 2"),
        (PROPOSALS[:1], TRUTH[:1], LABELS[:1], "got 3 for 2 proposals"),
        (PROPOSALS, TRUTH, [LABELS[0][:1], LABELS[1]], r"must be \(M, 4\) and \(M, 3\), got \(2, 4\) and \(1, 3\)"),
        (PROPOSALS, TRUTH, [torch.zeros(2, 80), LABELS[1]], r"and \(2, 80\)"),
        (PROPOSALS, [torch.zeros(2, 5), TRUTH[1]], LABELS, r"got \(2, 5\)"),
        (PROPOSALS, [TRUTH[0].flip(1), TRUTH[1]], LABELS, r"not x, y, width, height"),
        (PROPOSALS, [TRUTH[0] * 256, TRUTH[1]], LABELS, r"not pixels"),
    ],
)
def test_bad_input(proposals: list[Tensor], truth: list[Tensor], labels: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detection_loss(output(), proposals, truth, labels)


@pytest.mark.parametrize(
    ("proposals", "boxes", "iou", "message"),
    [
        (torch.rand(4), TRUTH[0], 0.5, r"proposals must be float \(N, 4\).*got \(4,\)"),
        (PROPOSALS[0].flip(1), TRUTH[0], 0.5, r"proposals must be x1, y1, x2, y2 \(not"),
        (PROPOSALS[0], TRUTH[0].flip(1), 0.5, r"boxes must be x1, y1, x2, y2 \(not"),
        (PROPOSALS[0], TRUTH[0], 2, r"iou must be in \(0, 1\], got 2"),
        (PROPOSALS[0], TRUTH[1], 0, r"iou must be in \(0, 1\], got 0"),
        (PROPOSALS[0].tolist(), TRUTH[0], 0.5, "proposals must be a tensor, got a list"),
    ],
)
def test_what_cannot_be_matched(proposals: Tensor, boxes: Tensor, iou: float, message: str) -> None:
    """Fails when `match` takes everything: an overlap of 2 is never reached, and no proposal learns an action."""
    with pytest.raises(ValueError, match=message):
        match(proposals, boxes, iou=iou)
