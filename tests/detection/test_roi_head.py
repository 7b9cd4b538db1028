"""From features and boxes to logits and offsets."""

import math

import pytest
import torch
from torch import Tensor

from kdvideo.detection import BoxCoder, RoIHead, RoIOutput, decode


def bilinear(plane: Tensor, x: float, y: float) -> Tensor:
    """The value (C,) of a plane (C, H, W) whose pixel (i, j) has its center at (j + 0.5, i + 0.5)."""
    height, width = plane.shape[1:]
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    left, top = math.floor(x), math.floor(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    upper = (1 - a) * plane[:, top, left] + a * plane[:, top, right]
    return (1 - b) * upper + b * ((1 - a) * plane[:, bottom, left] + a * plane[:, bottom, right])


@pytest.mark.parametrize("ratio", [1, 2])
def test_pools_as_bilinear_sampling_does(ratio: int) -> None:
    features = torch.randn(2, 3, 4, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    boxes = [torch.zeros(0, 4).double(), torch.tensor([[0.0, 0.1, 0.7, 0.8], [0.25, 0.3, 1.0, 1.0]]).double()]
    pooled = RoIHead(3, 5, resolution=4, sampling_ratio=ratio).double().pool(features, boxes)
    plane = features[1].mean(1)
    for number, (x1, y1, x2, y2) in enumerate(boxes[1].tolist()):
        for row in range(4):
            for column in range(4):
                samples = [
                    bilinear(
                        plane,
                        9 * (x1 + (x2 - x1) * (column + (i + 0.5) / ratio) / 4),
                        6 * (y1 + (y2 - y1) * (row + (j + 0.5) / ratio) / 4),
                    )
                    for i in range(ratio)
                    for j in range(ratio)
                ]
                expected = torch.stack(samples).mean(0)
                torch.testing.assert_close(pooled[number, :, row, column], expected, rtol=1e-9, atol=1e-9)


def test_two_linear_layers_on_the_mean_of_the_region() -> None:
    torch.manual_seed(0)
    head = RoIHead(6, 3)
    features = torch.randn(2, 6, 4, 7, 7)
    boxes = [torch.tensor([[0.1, 0.2, 0.5, 0.9], [0.3, 0.1, 0.9, 0.8]]), torch.tensor([[0.1, 0.2, 0.5, 0.9]])]
    output = head(features, boxes)
    pooled = head.pool(features, boxes).mean((2, 3))
    torch.testing.assert_close(output.logits, pooled @ head.classify.weight.T + head.classify.bias)
    torch.testing.assert_close(output.offsets, pooled @ head.regress.weight.T + head.regress.bias)
    torch.testing.assert_close(head(features[1:], boxes[1:]).logits, output.logits[2:])


def test_mirrored_features_and_boxes_give_the_same() -> None:
    head, features = RoIHead(6, 3), torch.randn(1, 6, 2, 7, 9)
    box = torch.tensor([[0.125, 0.25, 0.5, 0.875]])
    mirrored = torch.tensor([[0.5, 0.25, 0.875, 0.875]])
    torch.testing.assert_close(head(features.flip(-1), [mirrored]).logits, head(features, [box]).logits)


def test_half_precision_and_no_boxes() -> None:
    head = RoIHead(6, 3)
    features = torch.randn(2, 6, 2, 7, 7, dtype=torch.bfloat16)
    assert head.pool(features, [torch.rand(1, 2).repeat(1, 2)] * 2).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert head(features, [torch.zeros(1, 4)] * 2).logits.dtype == torch.bfloat16
    empty = head(features.float().requires_grad_(), [torch.zeros(0, 4)] * 2)
    assert (empty.logits.shape, empty.offsets.shape) == ((0, 3), (0, 4))
    empty.logits.sum().backward()


@pytest.mark.parametrize(
    ("features", "boxes", "message"),
    [
        (torch.zeros(1, 6, 7, 7), [torch.zeros(1, 4)], r"must be \(B, 6, T, H, W\), got \(1, 6, 7, 7\)"),
        (torch.zeros(1, 5, 2, 7, 7), [torch.zeros(1, 4)], "features must be"),
        (torch.zeros(2, 6, 2, 7, 7), [torch.zeros(1, 4)], "one tensor per clip, got 1 for 2 clips"),
        (torch.zeros(1, 6, 2, 7, 7), [torch.zeros(1, 5)], r"\(1, 5\)"),
        (torch.zeros(1, 6, 2, 7, 7), [torch.tensor([[0.5, 0.1, 0.2, 0.3]])], "x, y, width, height"),
    ],
)
def test_bad_input(features: Tensor, boxes: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RoIHead(6, 3)(features, boxes)


def test_bad_sizes() -> None:
    for arguments in ({"in_channels": 0}, {"num_classes": 0}, {"resolution": 0}, {"sampling_ratio": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}="):
            RoIHead(**{"in_channels": 6, "num_classes": 3, **arguments})


def test_decoding_clips_and_splits() -> None:
    proposals = [torch.tensor([[0.1, 0.2, 0.5, 0.9]]), torch.zeros(0, 4), torch.tensor([[0.6, 0.2, 0.9, 0.8]])]
    output = RoIOutput(torch.tensor([[0.0, 2.0], [-1.0, 0.5]]), torch.tensor([[0.0, 0, 0, 0], [5.0, 0, 0, 0]]))
    (first, scores), (nothing, _), (moved, _) = decode(output, proposals, BoxCoder(center=5))
    torch.testing.assert_close(first, proposals[0])
    torch.testing.assert_close(scores, output.logits[:1].sigmoid())
    assert nothing.shape == (0, 4)
    torch.testing.assert_close(moved, torch.tensor([[0.9, 0.2, 1.0, 0.8]]))
    with pytest.raises(ValueError, match="got 2 for 1 proposals"):
        decode(output, proposals[:2])
