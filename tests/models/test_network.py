"""The clip a network is meant to see, and what is said of a wrong one."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from kdvideo import models
from kdvideo.models.network import InputSpec, check_clip

NORMALISED = InputSpec(8, 32, value_range=(0.0, 1.0), mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))


def test_prepare_scales_and_normalises():
    frames = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    torch.testing.assert_close(NORMALISED.prepare(frames).flatten(), torch.tensor([-1.0, 3.0, 0.1]))
    torch.testing.assert_close(InputSpec(8, 32).prepare(frames).flatten(), torch.tensor([-1.0, 1.0, -0.6]))


def test_prepare_names_what_came():
    with pytest.raises(ValueError, match=r"must be uint8 .* got torch\.float32"):
        NORMALISED.prepare(torch.zeros(3, 1, 2, 2))
    with pytest.raises(ValueError, match=r"must have 3 channels, .* got 2"):
        NORMALISED.prepare(torch.zeros(2, 1, 2, 2, dtype=torch.uint8))


def test_a_spec_from_json_is_equal():
    assert InputSpec(8, 32, value_range=[-1.0, 1.0], mean=[0.5], std=[1.0]) == InputSpec(8, 32, mean=(0.5,), std=(1.0,))


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((3, 8, 32, 32), r"unsqueeze\(0\)"),
        ((1, 8, 3, 32, 32), r"transpose\(1, 2\)"),
        ((1, 8, 32, 32, 3), r"movedim\(-1, 1\)"),
        ((1, 4, 8, 32, 32), "in_channels="),
        ((1, 3, 8, 31, 32), "loop or resize"),
        ((0, 3, 8, 32, 32), "batch is empty"),
    ],
)
def test_check_clip_says_what_to_do(shape, advice):
    with pytest.raises(ValueError, match=advice):
        check_clip(torch.zeros(shape), channels=3, minimum=(8, 32, 32))
    check_clip(torch.zeros(2, 3, 8, 32, 32), channels=3, minimum=(8, 32, 32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 0}, "integers >= 1"),
        ({"size": [32, 32]}, "integers >= 1"),
        ({"value_range": (1.0, 0.0)}, "the lower first"),
        ({"value_range": (0.0, float("nan"))}, "the lower first"),
        ({"value_range": "0..1"}, "tuple of numbers"),
        ({"mean": None}, "tuple of numbers"),
        ({"mean": (0.5,)}, "must be as many"),
        ({"mean": (0.5,), "std": (0.0,)}, "std > 0"),
    ],
)
def test_an_impossible_spec_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        InputSpec(**{"frames": 8, "size": 32, **change})


@pytest.mark.parametrize("builder", [models.s3dg, models.i3d])
def test_exported_networks_take_any_batch(builder: Callable[..., nn.Module]) -> None:
    net = builder(5, depth_multiplier=0.125).eval()
    clips = torch.randn(3, 3, 8, 32, 32)
    sizes = ({0: torch.export.Dim("batch", min=1)},)
    exported = torch.export.export(net, (clips[:2],), dynamic_shapes=sizes, strict=False).module()
    torch.testing.assert_close(exported(clips), net(clips))
