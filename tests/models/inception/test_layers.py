"""Padding, pooling, batch norm and the convolutions beside plain PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo import models
from kdvideo.models.inception.layers import (
    BatchNorm3d,
    Conv3d,
    MaxPool3d,
    SameMaxPool3d,
    StridedConv3d,
    folded_conv3d,
    half_padding,
    merge_space,
    same_padding,
    split_space,
)

GPU = torch.cuda.is_available()
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not GPU, reason="no GPU here")])]
LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


@pytest.mark.parametrize("size", [(16, 64, 64), (13, 57, 57), (8, 33, 46), (9, 32, 100)])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (2, 2), (3, 1)])
def test_same_padding_is_tensorflows(size, kernel, stride):
    x = torch.randn(1, 2, *size)
    pads = [p for n in reversed(size) for p in same_padding(n, kernel, stride)]
    out = tuple(-(-n // stride) for n in size)
    conv = StridedConv3d(2, 3, (kernel,) * 3, (stride,) * 3, same_padding)
    torch.testing.assert_close(conv(x), F.conv3d(F.pad(x, pads), conv.weight, None, stride))
    pooled = F.max_pool3d(F.pad(x, pads, value=-torch.inf), kernel, stride)
    assert pooled.shape[2:] == conv(x).shape[2:] == out
    torch.testing.assert_close(SameMaxPool3d((kernel,) * 3, (stride,) * 3)(x), pooled, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"), [(224, 7, 2, (2, 3)), (112, 3, 2, (0, 1)), (57, 3, 2, (1, 1))]
)
def test_same_padding_values(size, kernel, stride, pads):
    assert same_padding(size, kernel, stride) == pads


@pytest.mark.parametrize("kernel", [(3, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_bfloat16_gradient_on_cpu_is_right_for_every_number_of_frames(kernel, frames):
    """Plain nn.Conv3d fails at 2 frames: its weight gradient is garbage or NaN there."""
    torch.manual_seed(0)
    conv = Conv3d(16, 16, kernel, padding=tuple(k // 2 for k in kernel))
    x = torch.randn(4, 16, frames, 4, 4)
    (expected,) = torch.autograd.grad(conv(x).square().sum(), [conv.weight])
    with torch.autocast("cpu", torch.bfloat16):
        (half,) = torch.autograd.grad(conv(x).float().square().sum(), [conv.weight])
    assert F.cosine_similarity(half.flatten(), expected.flatten(), dim=0) > 0.999
    assert (half - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_batch_norm_is_pytorchs_with_gamma_one_where_it_has_none(device, scale, layout):
    torch.manual_seed(0)
    ours = BatchNorm3d(4, scale=scale).to(device)
    reference = torch.nn.BatchNorm3d(4, eps=1e-3, momentum=1e-3).to(device)
    if scale:
        torch.nn.init.normal_(ours.weight)
        reference.load_state_dict(ours.state_dict())
    for _ in range(3):
        x = (torch.randn(2, 4, 3, 5, 6, device=device) * 2 + 1).contiguous(memory_format=layout)
        outs, grads = [], []
        for norm in (ours.train(), reference.train()):
            leaf = x.clone().requires_grad_()
            outs.append(norm(leaf))
            learned = [leaf, norm.bias, norm.weight] if scale else [leaf, norm.bias]
            grads.append(torch.autograd.grad(outs[-1].pow(3).sum(), learned))
        torch.testing.assert_close(outs[0], outs[1])
        torch.testing.assert_close(grads[0], grads[1])
        assert outs[0].is_contiguous(memory_format=layout)
    assert ours.num_batches_tracked == 3
    torch.testing.assert_close(ours.running_var, reference.running_var)
    torch.testing.assert_close(ours.eval()(x), reference.eval()(x))
    assert set(ours.state_dict()) == set(reference.state_dict()) - (set() if scale else {"weight"})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("clips", [1, 2])
def test_every_layer_keeps_the_memory_layout(clips, layout):
    """One clip with the channels last is told by the stride of its only batch entry, which a view may get wrong."""
    x = torch.randn(clips, 4, 6, 8, 10).contiguous(memory_format=layout)
    merged = merge_space(x)
    assert merged.data_ptr() == x.data_ptr()
    assert torch.equal(merged, x.flatten(3))
    assert split_space(merged, (8, 10)).stride() == x.stride()
    pools = MaxPool3d((3, 3, 3), (2, 2, 2), (1, 1, 1)), SameMaxPool3d((2, 2, 2), (2, 2, 2))
    for layer in (BatchNorm3d(4, scale=True), *pools):
        out = layer(x)
        assert out.stride() == torch.empty(out.shape).contiguous(memory_format=layout).stride()


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="no GPU here")
@pytest.mark.parametrize("build", [models.s3dg, models.i3d, models.s3d])
def test_backward_copies_no_gradient_for_an_operation_in_place_on_a_view(build):
    """On a GPU batch norm returns a view: a ReLU in place on it would copy the gradient of every layer."""
    logits = build(3, depth_multiplier=0.125, min_depth=8).cuda()(torch.randn(2, 3, 16, 64, 64, device="cuda"))
    seen, nodes = set(), [logits.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [parent for parent, _ in node.next_functions]
    names = {node.name() for node in seen}
    assert "MaxPool2DWithIndicesBackward0" in names
    assert not [name for name in names if "CopySlices" in name]


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="no GPU here")
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("build", [models.s3dg, models.i3d, models.s3d])
def test_trains_on_a_gpu(build, layout, autocast):
    """torch 2.11 cannot run batch norm without a weight backward on CUDA."""
    torch.manual_seed(0)
    model = build(3, depth_multiplier=0.25).cuda().to(memory_format=layout).train()
    clip = torch.randn(2, 3, 9, 40, 40, device="cuda").contiguous(memory_format=layout)
    with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
        loss = F.cross_entropy(model(clip).float(), torch.tensor([0, 2], device="cuda"))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(*[st.integers(3, 9)] * 3),
    kernel=st.tuples(*[st.sampled_from([1, 2, 3, 7])] * 3),
    stride=st.tuples(*[st.integers(1, 3)] * 3),
    channels=st.integers(1, 3),
    pad=st.sampled_from([same_padding, half_padding]),
)
def test_folded_convolution_is_the_strided_one(size, kernel, stride, channels, pad):
    pads = [pad(*axis) for axis in zip(size, kernel, stride, strict=True)]
    if any(n + b + a < k for n, k, (b, a) in zip(size, kernel, pads, strict=True)):
        return
    x = torch.randn(2, channels, *size, dtype=torch.float64)
    weight = torch.randn(4, channels, *kernel, dtype=torch.float64, requires_grad=True)
    expected = F.conv3d(F.pad(x, [p for pair in reversed(pads) for p in pair]), weight, stride=stride)
    folded = folded_conv3d(x, weight, stride, pads)
    torch.testing.assert_close(folded, expected)
    grads = [torch.autograd.grad(out.square().sum(), weight)[0] for out in (folded, expected)]
    torch.testing.assert_close(*grads)


@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(*[st.integers(3, 8)] * 3),
    kernel=st.tuples(*[st.integers(1, 3)] * 3),
    stride=st.tuples(*[st.integers(1, 2)] * 3),
    ceil=st.booleans(),
    layout=st.sampled_from(LAYOUTS),
)
def test_max_pool_is_pytorchs(size, kernel, stride, ceil, layout):
    x = torch.randn(2, 3, *size).contiguous(memory_format=layout).requires_grad_()
    padding = tuple(k // 2 for k in kernel)
    expected = F.max_pool3d(x, kernel, stride, padding, ceil_mode=ceil)
    pooled = MaxPool3d(kernel, stride, padding, ceil_mode=ceil)(x)
    assert torch.equal(pooled, expected)
    weight = torch.randn_like(expected)
    grads = [torch.autograd.grad((out * weight).sum(), x)[0] for out in (pooled, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="no GPU here")
@pytest.mark.parametrize("build", [models.s3dg, models.i3d, models.s3d])
def test_a_gpu_gives_the_logits_and_gradients_of_the_cpu(build):
    """The folded stem and the pools take other paths there."""
    torch.manual_seed(0)
    model = build(3, depth_multiplier=0.25).double().eval()
    clip, results = torch.randn(2, 3, 11, 47, 52, dtype=torch.float64), []
    for device in ("cpu", "cuda"):
        model.zero_grad()
        logits = model.to(device)(clip.to(device))
        logits.square().sum().backward()
        results.append([logits.detach().cpu(), *(p.grad.cpu() for p in model.parameters())])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.reliability("C12")
@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="no GPU here")
def test_trains_deterministically_on_a_gpu(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    clip, label, runs = torch.randn(2, 3, 16, 64, 64, device="cuda"), torch.tensor([0, 1], device="cuda"), []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            torch.manual_seed(0)
            model = models.s3dg(3, depth_multiplier=0.25).cuda().train()
            F.cross_entropy(model(clip), label).backward()
            runs.append([p.grad for p in model.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not GPU, reason="no GPU here")
@pytest.mark.parametrize("build", [models.s3dg, models.i3d, models.s3d])
def test_a_forward_pass_is_one_cuda_graph(build):
    """A host synchronisation would end the capture with an error."""
    torch.manual_seed(0)
    model = build(3, depth_multiplier=0.25).cuda().eval()
    clips = torch.randn(2, 1, 3, 16, 64, 64, device="cuda")
    held, graph = clips[0].clone(), torch.cuda.CUDAGraph()
    with torch.no_grad():
        expected = [model(clip) for clip in clips]
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            logits = model(held)
    for clip, wanted in zip(clips, expected, strict=True):
        held.copy_(clip)
        graph.replay()
        torch.testing.assert_close(logits, wanted)


def test_batch_norm_takes_part_in_stochastic_weight_averaging():
    torch.manual_seed(0)
    clips = [torch.randn(2, 4, 3, 5, 5) * k for k in (1, 2, 3)]
    ours, reference = BatchNorm3d(4, scale=False), torch.nn.BatchNorm3d(4, eps=1e-3, momentum=1e-3)
    for norm in (ours, reference):
        torch.optim.swa_utils.update_bn(clips, norm)
    torch.testing.assert_close(ours.running_var, reference.running_var)
    assert ours.momentum == 1e-3
    ours.reset_parameters()
    assert ours.running_var.eq(1).all()
