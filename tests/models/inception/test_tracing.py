"""Networks traced by torch.fx, scripted and exported, as torchvision's can be: the same logits at other sizes."""

import copy
import io

import pytest
import torch
from torch import nn

from kdvideo import models

BUILDERS = {"s3dg": models.s3dg, "i3d": models.i3d, "s3d": models.s3d}
SIZES = [(2, 3, 16, 64, 64), (1, 3, 27, 45, 70), (3, 3, 8, 32, 32)]


def network(name: str) -> models.Network:
    """A small network whose logits are not all but zero."""
    torch.manual_seed(0)
    net = BUILDERS[name](5, depth_multiplier=0.125, min_depth=8).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
    return net


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= 1e-4 * b.abs().max())


@pytest.mark.parametrize("name", BUILDERS)
def test_fx(name):
    """Fails when one of the `torch.fx.wrap` of the layers, the head or the backbone is taken away."""
    net = network(name)
    traced = torch.fx.symbolic_trace(net)
    assert traced.state_dict().keys() == net.state_dict().keys()
    assert [node.op for node in traced.graph.nodes].count("placeholder") == 1
    for size in SIZES:
        clip = torch.rand(size)
        assert torch.equal(traced(clip), net(clip))
    assert torch.equal(copy.deepcopy(traced)(clip), net(clip))
    with pytest.raises(ValueError, match="the clip must be float"):
        traced(torch.rand(1, 2, 8, 32, 32))


@pytest.mark.parametrize("name", BUILDERS)
def test_fx_in_training(name):
    net = network(name).train()
    clip = torch.rand(2, 3, 8, 32, 32)
    twin = copy.deepcopy(net)
    traced = torch.fx.symbolic_trace(twin)
    for one in (net, traced):
        torch.manual_seed(1)
        for _ in range(2):
            one(clip).sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), twin.buffers(), strict=True))


@pytest.mark.parametrize("name", BUILDERS)
def test_script(name):
    """Fails when a layer is taken out of `_PLAIN`, and when the network itself is changed."""
    net = network(name)
    kinds = [type(module) for module in net.modules()]
    scripted = torch.jit.script(net)
    assert [type(module) for module in net.modules()] == kinds
    assert scripted.state_dict().keys() == net.state_dict().keys()
    assert all(a.data_ptr() == b.data_ptr() for a, b in zip(scripted.parameters(), net.parameters(), strict=True))
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    again = torch.jit.load(file)
    for size in SIZES:
        clip = torch.rand(size)
        assert same(scripted(clip), net(clip))
        assert same(again(clip), net(clip))
    with pytest.raises(torch.jit.Error, match="must be float"):
        scripted(torch.rand(1, 2, 8, 32, 32))
    with pytest.raises(torch.jit.Error, match="8, 32, 32"):
        scripted(torch.rand(1, 3, 4, 32, 32))


@pytest.mark.parametrize("name", BUILDERS)
def test_export_with_any_batch(name):
    net = network(name)
    clip = torch.rand(2, 3, 16, 64, 64)
    exported = torch.export.export(net, (clip,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)).module()
    for batch in (1, 2, 5):
        clip = torch.rand(batch, 3, 16, 64, 64)
        assert same(exported(clip), net(clip))


def test_export_with_any_even_time():
    """An odd number of frames is padded otherwise by SAME: a network is exported for even ones, or for odd ones."""
    net = network("s3dg")
    dims = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(net, (torch.rand(2, 3, 32, 32, 32),), dynamic_shapes=(dims,)).module()
    for batch, frames in ((2, 24), (3, 40)):
        clip = torch.rand(batch, 3, frames, 32, 32)
        assert same(exported(clip), net(clip))
