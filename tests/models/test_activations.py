"""Where a network sees a class: against the weights of its classifier, and on a clip with one bright place."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import kdvideo as kd
from kdvideo import models
from kdvideo.models import class_activation, highlight

CLIP = torch.randn(2, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network() -> models.Network:
    torch.manual_seed(0)
    return models.s3dg(5, depth_multiplier=0.125, min_depth=8).eval()


def test_on_the_last_layer_it_is_features_times_the_weights_of_the_class(network: models.Network) -> None:
    """Fails when the mean over the places, or the class of each clip, is another."""
    classes = torch.tensor([3, 1])
    found = class_activation(network, CLIP, classes, layer="5C")
    tapped = kd.FeatureExtractor(network, ["5C"])
    with torch.no_grad():
        features = tapped(CLIP).features["5C"]
    tapped.remove()
    proj = network.get_submodule("head.proj")
    expected = torch.einsum("bcthw,bc->bthw", features, proj.weight[classes]) / features[0, 0].numel()
    torch.testing.assert_close(found, expected.detach())
    logits = network(CLIP).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(found.sum((1, 2, 3)), (logits - proj.bias[classes]).detach())


def test_it_leaves_the_network_as_it_was(network: models.Network) -> None:
    """Fails when gradients are left on the weights, or hooks on the layers."""
    with torch.no_grad():
        class_activation(network, CLIP, torch.tensor([0, 0]))
    assert all(p.grad is None for p in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(("side", "places"), [(44, (6, 6)), (64, (4, 4)), (128, (4, 4))])
def test_small_clips_are_looked_at_on_finer_layers(network: models.Network, side: int, places: tuple[int, int]) -> None:
    """Fails when the last layer is taken whatever its size: of 44 pixels it has 2 x 2 places."""
    found = class_activation(network, torch.randn(1, 3, 8, side, side), torch.tensor([0]))
    assert found.shape[2:] == places


def test_a_layer_without_places_is_refused(network: models.Network) -> None:
    with pytest.raises(ValueError, match=r"1 places or more, got \{'head': \(2, 5\)\}: name another"):
        class_activation(network, CLIP, torch.tensor([0, 0]), layer="head")


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (torch.tensor([2]), r"one per clip, \(2,\), got \(1,\) of torch.int64"),
        (torch.tensor([2.0, 1.0]), r"got \(2,\) of torch.float32"),
        (2, r"got an int: torch.tensor"),
        (torch.tensor([1, 5]), r"in 0\.\.4, got \[1, 5\]"),
        (torch.tensor([-1, 2]), r"in 0\.\.4, got \[-1, 2\]"),
    ],
)
def test_classes_that_are_not_of_the_clips_are_refused(
    network: models.Network, classes: torch.Tensor, words: str
) -> None:
    """Fails when classes are not checked: one class for two clips leaves the map of the second at 0."""
    with pytest.raises(ValueError, match=words):
        class_activation(network, CLIP, classes)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_classes_may_be_any_integers(network: models.Network, dtype: torch.dtype) -> None:
    """Fails when the classes are gathered as they are: torch takes int64 alone."""
    expected = class_activation(network, CLIP, torch.tensor([3, 1]))
    torch.testing.assert_close(class_activation(network, CLIP, torch.tensor([3, 1], dtype=dtype)), expected)


def test_a_clip_that_does_not_fit_leaves_no_hooks(network: models.Network) -> None:
    """Fails when the taps are removed only after a forward that succeeds."""
    with pytest.raises(ValueError, match="clip"):
        class_activation(network, CLIP[:, :2], torch.tensor([0, 0]))
    assert not any(module._forward_hooks for module in network.modules())


FRAMES, ACTIVATION = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 2, 2)


@pytest.mark.parametrize(
    ("frames", "activation", "most", "words"),
    [
        (FRAMES.float(), ACTIVATION, None, r"uint8 \(T, 3, H, W\).*got \(2, 3, 8, 8\) of torch.float32"),
        (FRAMES.movedim(1, -1), ACTIVATION, None, r"got \(2, 8, 8, 3\)"),
        (FRAMES, ACTIVATION[None], None, r"and \(1, 1, 2, 2\)"),
        (FRAMES, ACTIVATION, 0, r"most must be positive and finite, got 0"),
        (FRAMES, ACTIVATION, -1.0, r"got -1.0: None takes"),
    ],
)
def test_what_cannot_be_colored_is_refused(
    frames: torch.Tensor, activation: torch.Tensor, most: float | None, words: str
) -> None:
    """Fails when `highlight` takes float frames, whose colors are all but black, or a scale of 0 as None."""
    with pytest.raises(ValueError, match=words):
        highlight(frames, activation, most=most)


def test_color_is_where_the_activation_is() -> None:
    """Fails when negative places are colored, the scale is not the given one, or the places are mirrored."""
    frames = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    activation = torch.tensor([[[2.0, -1.0], [-1.0, -1.0]]])
    shown = highlight(frames, activation).float()
    spread = shown.amax(1) - shown.amin(1)  # 0 for gray
    assert spread[:, 0, 0].min() > 150
    assert spread[:, -1, -1].max() == 0
    half = highlight(frames, activation, most=4.0).float()
    assert torch.allclose((half.amax(1) - half.amin(1))[:, 0, 0], spread[:, 0, 0] / 2, atol=1)
    assert F.l1_loss(highlight(frames, -activation.abs()).float(), frames.float()) == 0
