"""The flow decoder, its target, its loss and its error; frozen and fine-tuned on real networks."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kdvideo as kd
from kdvideo import flow as kf
from kdvideo import models


def rand(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def decoder(channels: int = 6, *, context: bool = False) -> kf.FlowDecoder:
    torch.manual_seed(0)
    return kf.FlowDecoder(channels, widths=(8, 8), context=context)


def encoding(*shape: int, seed: int = 0) -> Tensor:
    batch, steps, *space = shape
    return kf.im2flow_encode(rand(batch, steps, 2, *space, seed=seed, scale=4)).transpose(1, 2)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# The network


def test_parameter_counts() -> None:
    with torch.device("meta"):
        plain, context = kf.FlowDecoder(192), kf.FlowDecoder(192, context=True)
    assert parameters(plain) == 1_483_075
    widths = (640, 128, 128, 128, 96, 64, 32, 3)
    assert parameters(context) == 1_483_075 + sum((9 * a + 1) * b for a, b in itertools.pairwise(widths))
    assert [m.dilation for m in context.context.modules() if isinstance(m, nn.Conv2d)] == [
        (d, d) for d in (1, 2, 4, 8, 16, 1, 1)
    ]


def by_hand(net: kf.FlowDecoder, frame: Tensor) -> Tensor:
    """The same with plain functions, from the network's list of parameters."""
    values = list(net.parameters())
    convs = list(zip(values[::2], values[1::2], strict=True))
    dense, context = convs[: len(net.layers) + 1], convs[len(net.layers) + 1 :]
    for weight, bias in dense[:-1]:
        out = nn.functional.conv2d(frame, weight, bias, padding=1)
        frame = torch.cat([frame, torch.where(out > 0, out, 0.1 * out)], 1)
    result = nn.functional.conv2d(frame, *dense[-1], padding=1)
    for k, (weight, bias) in enumerate(context):
        d = (1, 2, 4, 8, 16, 1, 1)[k]
        frame = nn.functional.conv2d(frame, weight, bias, padding=d, dilation=d)
        frame = frame if k == 6 else torch.where(frame > 0, frame, 0.1 * frame)
    return result + frame if context else result


@pytest.mark.parametrize("context", [False, True])
def test_every_frame_alone_and_as_by_hand(context: bool) -> None:
    net, feature = decoder(context=context).double(), rand(2, 6, 3, 5, 7).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    out = net(feature)
    assert out.shape == (2, 3, 3, 5, 7)
    for b in range(2):
        for t in range(3):
            assert torch.allclose(out[b : b + 1, :, t], by_hand(net, feature[b : b + 1, :, t]), rtol=1e-9)


def test_initialization_keeps_the_scale_of_a_feature() -> None:
    torch.manual_seed(0)
    net, frames = kf.FlowDecoder(64), rand(8, 64, 12, 12)
    for layer in net.layers:
        out = layer(frames)
        assert 0.7 < out.square().mean().sqrt() < 1.3
        frames = torch.cat([frames, out], 1)
    assert all(not module.bias.any() for module in net.modules() if isinstance(module, nn.Conv2d))


def test_channels_last_stays_and_changes_no_value() -> None:
    net, feature = decoder(context=True), rand(2, 6, 3, 8, 8)
    last = feature.to(memory_format=torch.channels_last_3d)
    out = net.to(memory_format=torch.channels_last)(last)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.allclose(out, net(feature), atol=1e-5)


def test_bad_decoders_and_features() -> None:
    for channels, widths in ((0, (8,)), (6, ()), (6, (8, 0))):
        with pytest.raises(ValueError, match="must be positive"):
            kf.FlowDecoder(channels, widths=widths)
    for shape in ((2, 5, 3, 8, 8), (2, 6, 8, 8), (6, 2, 3, 8, 8)):
        with pytest.raises(ValueError, match=r"feature must be \(B,6,T,H,W\), got"):
            decoder()(torch.zeros(shape))


# The target


def test_target_against_loops_of_numpy() -> None:
    flow = rand(2, 8, 2, 12, 18, scale=15)
    target = kf.decoder_target(flow, (4, 3, 6), temporal_stride=2, bound=10.0)
    assert target.shape == (2, 3, 4, 3, 6)
    assert target.dtype == torch.float32
    cut = np.clip(flow.numpy().astype(np.float64), -10, 10)
    for b, k, y, x in np.ndindex(2, 4, 3, 6):
        u, v = cut[b, 2 * k, :, 4 * y : 4 * y + 4, 3 * x : 3 * x + 3].mean((1, 2))
        expected = (math.hypot(u, v), v / math.hypot(u, v), u / math.hypot(u, v))
        assert target[b, :, k, y, x].tolist() == pytest.approx(expected, abs=1e-4)


def test_opposite_motions_in_a_cell_cancel() -> None:
    flow = torch.tensor([3.0, -3.0]).view(1, 1, 1, 1, 2).expand(1, 1, 2, 4, 2)
    assert kf.decoder_target(flow, (1, 4, 1), temporal_stride=1).abs().max() == 0


@pytest.mark.parametrize(("frames", "stride", "steps"), [(16, 2, 8), (16, 1, 16), (5, 2, 3), (16, 8, 2), (9, 8, 2)])
def test_clips_with_and_without_a_repeated_last_flow(frames: int, stride: int, steps: int) -> None:
    flow = torch.arange(frames - 1.0).view(1, -1, 1, 1, 1).expand(1, -1, 2, 4, 4)
    expected = [min(stride * k, frames - 2) for k in range(steps)]
    for clip in (flow, torch.cat([flow, flow[:, -1:]], 1)):
        target = kf.decoder_target(clip, (steps, 2, 2), temporal_stride=stride)
        assert (target[0, 0, :, 0, 0] / 2**0.5).tolist() == pytest.approx(expected)


def test_target_of_half_precision_is_computed_in_float32_without_gradient() -> None:
    flow = rand(1, 2, 2, 8, 8, scale=9).bfloat16()
    target = kf.decoder_target(flow.requires_grad_(), (2, 2, 2), temporal_stride=1)
    assert torch.equal(target, kf.decoder_target(flow.float(), (2, 2, 2), temporal_stride=1))
    assert not target.requires_grad


def test_bad_targets() -> None:
    flow = torch.zeros(1, 15, 2, 8, 8)
    for steps, stride in ((8, 1), (8, 4), (4, 2), (9, 2), (8, 0), (0, 16)):
        with pytest.raises(ValueError, match=f"temporal_stride={stride}, which are not {steps} steps"):
            kf.decoder_target(flow, (steps, 4, 4), temporal_stride=stride)
    with pytest.raises(ValueError, match="larger"):
        kf.decoder_target(flow, (8, 16, 16), temporal_stride=2)
    with pytest.raises(ValueError, match=r"flow must be \(B,N,2,h,w\)"):
        kf.decoder_target(flow[0], (8, 4, 4), temporal_stride=2)
    with pytest.raises(ValueError, match=r"size \(T,H,W\)"):
        kf.decoder_target(flow, (8, 4), temporal_stride=2)
    with pytest.raises(ValueError, match="dimension -3"):
        kf.decoder_target(flow.transpose(1, 2), (8, 4, 4), temporal_stride=2)
    with pytest.raises(ValueError, match="bound"):
        kf.decoder_target(flow, (8, 4, 4), temporal_stride=2, bound=0)


def test_the_flow_of_the_projects_clips_comes_back_in_pixels() -> None:
    pixels = rand(2, 4, 2, 6, 6, scale=3).clamp(-5, 5)
    clip = kf.to_unit(pixels, 5.0).transpose(1, 2)
    assert torch.allclose(kf.clip_to_pixels(clip, bound=5.0), pixels, atol=1e-6)
    assert kf.clip_to_pixels(clip.half()).dtype == torch.float32
    for bad in (pixels, clip[0], torch.zeros(1, 2, 4, 6, 6, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"\(B,2,T,H,W\)"):
            kf.clip_to_pixels(bad)
    with pytest.raises(ValueError, match="bound"):
        kf.clip_to_pixels(clip, bound=-1)


# The loss and the error


@pytest.mark.parametrize("mag_scale", [1.0, 30.0])
def test_loss_against_loops_of_numpy(mag_scale: float) -> None:
    predicted, target = rand(2, 3, 2, 3, 4, seed=1).double(), encoding(2, 2, 3, 4).double()
    expected = np.zeros((2, 2, 3, 4))
    for b, t, y, x in np.ndindex(2, 2, 3, 4):
        (m_, s_, c_), (m, s, c) = predicted[b, :, t, y, x].tolist(), target[b, :, t, y, x].tolist()
        expected[b, t, y, x] = (m_ - m) ** 2 + m / mag_scale * ((s_ - s) ** 2 + (c_ - c) ** 2)
    each = kf.decoder_loss(predicted, target, mag_scale=mag_scale, reduction="none")
    assert np.allclose(each.numpy(), expected, rtol=1e-12)
    assert kf.decoder_loss(predicted, target, mag_scale=mag_scale).item() == pytest.approx(expected.mean(), rel=1e-12)
    if mag_scale == 1:
        assert kf.decoder_loss(predicted, target).item() == pytest.approx(expected.mean(), rel=1e-12)


def test_loss_is_zero_with_zero_gradient_when_equal() -> None:
    target = encoding(1, 2, 4, 4)
    predicted = target.clone().requires_grad_()
    loss = kf.decoder_loss(predicted, target)
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad.abs().max() == 0


def test_loss_gradient() -> None:
    predicted, target = rand(1, 3, 1, 2, 2).double().requires_grad_(), encoding(1, 1, 2, 2).double()
    assert torch.autograd.gradcheck(lambda x: kf.decoder_loss(x, target, mag_scale=3.0), predicted)


def test_no_motion_asks_for_no_direction() -> None:
    still, turned = torch.zeros(1, 3, 1, 2, 2), torch.zeros(1, 3, 1, 2, 2)
    turned[:, 1:] = 5
    assert kf.decoder_loss(turned, still).item() == 0


def test_loss_in_float32_inside_autocast() -> None:
    predicted, target = rand(1, 3, 2, 4, 4, seed=1).bfloat16(), encoding(1, 2, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        loss = kf.decoder_loss(predicted, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, kf.decoder_loss(predicted.float(), target))
    target = target.bfloat16()
    losses = [
        kf.decoder_loss(*pair, mag_scale=3.0) for pair in ((predicted, target), (predicted.float(), target.float()))
    ]
    assert torch.equal(*losses)
    assert kf.decoder_loss(predicted.double(), target.double()).dtype == torch.float64


@pytest.mark.parametrize("function", [kf.decoder_loss, kf.decoder_epe])
def test_shapes_that_differ_raise(function: object) -> None:
    with pytest.raises(ValueError, match=r"must have one shape, got \(1, 3, 2, 4, 4\) and \(1, 3, 1, 4, 4\)"):
        function(torch.zeros(1, 3, 2, 4, 4), torch.zeros(1, 3, 1, 4, 4))
    for shape in ((1, 2, 2, 4, 4), (1, 3, 4, 4), (0, 3, 2, 4, 4)):
        with pytest.raises(ValueError, match=r"encodings must be \(B,3,T,H,W\) and not empty"):
            function(torch.zeros(shape), torch.zeros(shape))


def test_bad_settings_of_the_loss() -> None:
    zeros = torch.zeros(1, 3, 1, 2, 2)
    for scale in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="mag_scale"):
            kf.decoder_loss(zeros, zeros, mag_scale=scale)
    with pytest.raises(ValueError, match="reduction"):
        kf.decoder_loss(zeros, zeros, reduction="sum")


def test_epe_is_that_of_the_decoded_flow() -> None:
    predicted, target = rand(2, 3, 2, 3, 4, seed=1), encoding(2, 2, 3, 4)
    distances = []
    for b, t, y, x in np.ndindex(2, 2, 3, 4):
        (m_, s_, c_), (m, s, c) = predicted[b, :, t, y, x].tolist(), target[b, :, t, y, x].tolist()
        distances.append(math.hypot(max(m_, 0) * c_ - m * c, max(m_, 0) * s_ - m * s))
    assert kf.decoder_epe(predicted, target).item() == pytest.approx(np.mean(distances), rel=1e-5)
    zeros = torch.zeros_like(target)
    assert kf.decoder_epe(zeros, target).item() == pytest.approx(target[:, 0].mean().item(), rel=1e-5)
    rounded = predicted.bfloat16()
    assert torch.equal(kf.decoder_epe(rounded, target), kf.decoder_epe(rounded.float(), target))


# On networks, frozen and fine-tuned


def s3dg(in_channels: int = 3) -> models.Inception3D:
    torch.manual_seed(0)
    return models.s3dg(5, in_channels=in_channels, depth_multiplier=0.125, min_depth=8)


def train(features: nn.Module, head: nn.Module, layer: str, stride: int, parameters: list[Tensor]) -> float:
    """Three steps on one random clip; the loss of the last."""
    rgb, flow = rand(1, 3, 8, 64, 64), kf.clip_to_pixels(rand(1, 2, 8, 64, 64, seed=1).clamp(-1, 1) / 10)
    optimizer = torch.optim.SGD(parameters, lr=0.01)
    for _ in range(3):
        predicted = head(features(rgb).features[layer])
        loss = kf.decoder_loss(predicted, kf.decoder_target(flow, predicted.shape[2:], temporal_stride=stride))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


BUILT = {
    "s3dg": s3dg,
    "i3d": lambda: models.i3d(5, depth_multiplier=0.125, min_depth=8),
    "x3d_xs": lambda: models.pytorchvideo("x3d_xs", num_classes=5),
}


@pytest.mark.parametrize(
    ("network", "layer", "channels", "stride"),
    [
        *[("s3dg", name, width, s) for name, width, s in [("2C", 24, 2), ("3A", 24, 2), ("4C", 64, 4), ("5C", 128, 8)]],
        ("i3d", "3A", 24, 2),
        ("x3d_xs", "res3", 48, 1),
    ],
)
def test_frozen_features_of_any_layer(network: str, layer: str, channels: int, stride: int) -> None:
    net = BUILT[network]()
    before = copy.deepcopy(net.state_dict())
    frozen, head = kd.Teacher(net, [layer], logits=None, early_exit=True), decoder(channels)
    start = head.predict.weight.clone()
    train(frozen.train(), head.train(), layer, stride, [*net.parameters(), *head.parameters()])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not torch.equal(head.predict.weight, start)


def test_fine_tuning_reaches_the_stem() -> None:
    net, head = s3dg(), decoder(24)
    before = copy.deepcopy(net.state_dict())
    tapped = kd.FeatureExtractor(net, ["3A"], logits=None, early_exit=True).train()
    train(tapped, head, "3A", 2, [*net.parameters(), *head.parameters()])
    changed = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert {"conv_1a.conv.weight", "conv_1a.bn.running_mean", "conv_2c.conv.temporal.weight"} <= changed
    assert not any(name.startswith(("mixed_3b", "head")) for name in changed)


def test_action_and_flow_loss_together() -> None:
    net, head = s3dg(), decoder(24)
    output = kd.Student(net, ["3A"])(rand(2, 3, 8, 32, 32))
    predicted = head(output.features["3A"])
    loss = nn.functional.cross_entropy(output.logits, torch.tensor([0, 1]))
    (loss + kf.decoder_loss(predicted, torch.ones_like(predicted))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in [*net.parameters(), *head.parameters()])


def test_a_decoder_learns_the_flow_of_one_clip() -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    turning = torch.stack([-4 * y, 4 * x])
    flow = torch.stack([turning * (1 + t / 8) for t in range(8)])[None]
    feature = kd.Teacher(s3dg(), ["3A"])(rand(1, 3, 8, 64, 64)).features["3A"]
    feature = feature / feature.std()
    torch.manual_seed(0)
    head = kf.FlowDecoder(24, widths=(32, 32))
    target = kf.decoder_target(flow, feature.shape[2:], temporal_stride=2)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    losses = []
    for _ in range(99):
        loss = kf.decoder_loss(head(feature), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
    zeros = kf.decoder_epe(torch.zeros_like(target), target)
    assert kf.decoder_epe(head(feature), target) < zeros / 3


# Decoded flow as the input of a flow network


def test_decoded_clip_has_the_scale_layout_and_times_of_an_input() -> None:
    flow = torch.tensor([[1.0, 0.0], [2.0, -3.0], [-40.0, 4.0], [0.0, 0.0]]).view(1, 4, 2, 1, 1).expand(1, 4, 2, 3, 3)
    clip = kf.decoded_clip(kf.im2flow_encode(flow).transpose(1, 2), (8, 12, 12), bound=10.0)
    assert clip.shape == (1, 2, 8, 12, 12)
    expected = (flow.clamp(-10, 10) / 10)[0, [0, 0, 1, 1, 2, 2, 3, 3], :, :1, :1].transpose(0, 1)
    assert torch.allclose(clip[0], expected.expand(2, 8, 12, 12), atol=1e-6)
    target = kf.decoder_target(kf.clip_to_pixels(clip, bound=10.0), (4, 3, 3), temporal_stride=2)
    assert torch.allclose(kf.decoded_clip(target, (8, 12, 12), bound=10.0), clip, atol=1e-6)


def test_decoded_clip_is_bilinear_in_space() -> None:
    flow = torch.tensor([0.0, 4.0]).view(1, 1, 1, 1, 2).expand(1, 1, 2, 1, 2)
    clip = kf.decoded_clip(kf.im2flow_encode(flow).transpose(1, 2), (1, 2, 4))
    assert (clip[0, 0, 0, 0] * 20).tolist() == pytest.approx([0, 1, 3, 4])


def test_bad_decoded_clips() -> None:
    with pytest.raises(ValueError, match=r"encoding must be \(B,3,T,H,W\)"):
        kf.decoded_clip(torch.zeros(1, 2, 4, 7, 7), (8, 56, 56))
    with pytest.raises(ValueError, match=r"encoding must be \(B,3,T,H,W\)"):
        kf.decoded_clip(torch.zeros(1, 3, 4, 7, 7), (56, 56))
    with pytest.raises(ValueError, match="bound"):
        kf.decoded_clip(torch.zeros(1, 3, 4, 7, 7), (8, 56, 56), bound=0)


def test_the_loss_on_decoded_flow_reaches_the_stem_of_the_rgb_network() -> None:
    rgb_net, flow_net, head = s3dg(), s3dg(2), decoder(24)
    rgb = rand(2, 3, 8, 32, 32)
    nn.init.constant_(head.predict.bias, 1.0)
    predicted = head(kd.FeatureExtractor(rgb_net, ["3A"], logits=None, early_exit=True)(rgb).features["3A"])
    still = (torch.arange(4) % 2 == 0).expand(4, 4)
    predicted = torch.cat([predicted[:, :1].masked_fill(still, 0), predicted[:, 1:]], 1)
    predicted.retain_grad()
    logits = flow_net(kf.decoded_clip(predicted, tuple(rgb.shape[2:])))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    everything = [*rgb_net.conv_1a.parameters(), *head.parameters(), *flow_net.parameters(), predicted]
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in everything)
    assert predicted.grad[:, 0][..., still].abs().min() > 0
    assert rgb_net.conv_1a.conv.weight.grad.abs().max() > 0
