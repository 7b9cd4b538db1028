"""A network and a head on one of its layers."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdvideo import models
from kdvideo.detection import Detector, RoIHead, detection_loss

BOXES = [torch.tensor([[0.1, 0.1, 0.6, 0.9], [0.5, 0.2, 1.0, 1.0]]), torch.tensor([[0.2, 0.1, 0.6, 0.9]])]


class Tiny(nn.Module):
    """(B, 3, T, H, W) -> logits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(3, 4, 3, stride=2, padding=1), nn.ReLU())
        self.layer_names = {"top": "body"}
        self.last = nn.Conv3d(4, 4, 1)

    def forward(self, clip: Tensor) -> Tensor:
        return self.last(self.body(clip)).mean((2, 3, 4))


def test_head_sees_the_layer() -> None:
    torch.manual_seed(0)
    net, head, clip = Tiny(), RoIHead(4, 5), torch.randn(2, 3, 4, 16, 16)
    detector = Detector(net, "top", head)
    output = detector(clip, BOXES)
    assert torch.equal(output.logits, head(net.body(clip), BOXES).logits)
    assert detector.backbone is net
    assert output.logits.shape == (3, 5)


def test_one_step_of_training_lowers_the_loss_and_reaches_the_first_layer() -> None:
    torch.manual_seed(0)
    net = models.s3dg(5, depth_multiplier=0.125, min_depth=8)
    detector = Detector(net, "3C", RoIHead(60, 3))
    clip, labels = torch.randn(2, 3, 8, 32, 32), [torch.eye(3)[:2], torch.eye(3)[2:]]
    moved = [boxes + 0.02 for boxes in BOXES]
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.05)
    losses = []
    for _ in range(2):
        loss = sum(detection_loss(detector(clip, moved), moved, BOXES, labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    gradients = {name: parameter.grad for name, parameter in detector.named_parameters()}
    reached = [name for name, grad in gradients.items() if grad is not None and grad.abs().sum() > 0]
    assert any("1a" in name for name in reached)
    assert {"head.classify.weight", "head.regress.weight"} <= set(reached)
    assert not any("5c" in name for name in reached)


def test_layers_behind_the_tapped_one_do_not_run() -> None:
    net = Tiny()
    net.last.register_forward_hook(lambda *_: pytest.fail("ran"))
    Detector(net, "body", RoIHead(4, 5))(torch.zeros(2, 3, 4, 16, 16), BOXES)


def test_unknown_layers() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        Detector(Tiny(), "nowhere", RoIHead(4, 5))


@pytest.mark.parametrize(
    ("backbone", "head", "words"),
    [(Tiny(), "roi", "head must be a torch module, got a str"), ("i3d", RoIHead(4, 5), "backbone must be a torch")],
)
def test_parts_that_are_no_modules_are_refused(backbone: Any, head: Any, words: str) -> None:
    """Fails when the detector takes them: the first batch raises an AttributeError then."""
    with pytest.raises(ValueError, match=words):
        Detector(backbone, "top", head)


def test_layers_run_on_the_features_of_each_box() -> None:
    torch.manual_seed(0)
    net = models.s3dg(5, depth_multiplier=0.125, min_depth=8).eval()
    detector = Detector(net, "4F", RoIHead(128, 3, resolution=14), box_layers=("5A", "5B", "5C"))
    clip = torch.randn(2, 3, 16, 64, 64)
    names = set(detector.state_dict())
    assert names == set(Detector(net, "4F", RoIHead(128, 3)).state_dict())
    output = detector(clip, BOXES)
    assert (output.logits.shape, output.offsets.shape) == ((3, 3), (3, 4))
    feature = detector.features(clip).features["tapped"]
    steps = [RoIHead(104, 1, resolution=14).pool(feature[:, :, [k]], BOXES) for k in range(feature.shape[2])]
    regions = torch.stack(steps, 2)
    assert regions.shape == (3, 104, 4, 14, 14)
    for name in ("maxpool_5a", "mixed_5b", "mixed_5c"):
        regions = net.get_submodule(name)(regions)
    assert regions.shape == (3, 128, 2, 7, 7)
    torch.testing.assert_close(output.logits, detector.head.predict(regions.mean((2, 3, 4))).logits)
    output.logits.sum().backward()
    reached = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert {name.split(".")[0] for name in reached} >= {"conv_1a", "mixed_4f", "mixed_5b", "mixed_5c"}
    assert not any(name.startswith("head") for name in reached)


def test_without_boxes_the_layers_learn_nothing() -> None:
    net = models.s3dg(5, depth_multiplier=0.125, min_depth=8)
    detector = Detector(net, "4F", RoIHead(128, 3), box_layers=("5A", "5B", "5C")).train()
    before = {name: value.clone() for name, value in net.named_buffers() if "mixed_5" in name}
    output = detector(torch.randn(1, 3, 8, 32, 32), [torch.zeros(0, 4)])
    assert output.logits.shape == (0, 3)
    output.logits.sum().backward()
    assert all(value.equal(dict(net.named_buffers())[name]) for name, value in before.items())
    with pytest.raises(ValueError, match="5Z"):
        Detector(net, "4F", RoIHead(128, 3), box_layers=("5Z",))
