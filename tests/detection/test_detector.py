"""A network and a head on one of its layers."""

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
