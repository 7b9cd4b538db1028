"""The color wheel."""

import pytest
import torch

from kdvideo import flow as kf


def one(u: float, v: float, **options: float) -> list[int]:
    return kf.to_image(torch.tensor([u, v], dtype=torch.float32).view(2, 1, 1), **options).flatten().tolist()


def test_wheel_is_middleburys() -> None:
    wheel = (kf.color_wheel() * 255).int().tolist()
    assert (wheel[0], wheel[15], wheel[21], wheel[25], wheel[36], wheel[49]) == (
        [255, 0, 0],
        [255, 255, 0],
        [0, 255, 0],
        [0, 255, 255],
        [0, 0, 255],
        [255, 0, 255],
    )
    assert wheel[14] == [255, 238, 0]


def test_directions_have_their_colors() -> None:
    right, down, left, up = one(9, 0), one(0, 9), one(-9, 0), one(0, -9)
    assert right == [255, 0, 0]
    assert down[:2] == pytest.approx([255, 234], abs=2)
    assert left[0] == 0
    assert left[2] == 255
    assert up[2] == 255
    assert len({tuple(c) for c in (right, down, left, up)}) == 4


def test_rest_is_white_and_speed_saturates() -> None:
    assert one(0, 0) == [255, 255, 255]
    assert one(5, 0, max_magnitude=10) == [255, 128, 128]
    assert one(20, 0, max_magnitude=10) == [191, 0, 0]


def test_frames_of_a_clip_share_a_scale() -> None:
    clip = torch.zeros(2, 2, 1, 1)
    clip[0, 0], clip[1, 0] = 4, 8
    assert kf.to_image(clip)[:, 1].flatten().tolist() == [128, 0]


def test_unknown_is_black_and_does_not_set_the_scale() -> None:
    flow = torch.zeros(2, 1, 3)
    flow[0, 0] = torch.tensor([1e10, float("nan"), 3])
    assert kf.to_image(flow)[:, 0].T.tolist() == [[0, 0, 0], [0, 0, 0], [255, 0, 0]]


def test_shapes_and_bad_input() -> None:
    image = kf.to_image(torch.randn(2, 5, 2, 6, 7))
    assert (image.shape, image.dtype) == ((2, 5, 3, 6, 7), torch.uint8)
    with pytest.raises(ValueError, match="max_magnitude"):
        kf.to_image(torch.zeros(2, 1, 1), max_magnitude=0)
