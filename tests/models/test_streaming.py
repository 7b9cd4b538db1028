"""Causal networks on streams: equal to the same network on the clip, blind to the future, in constant memory."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import kdvideo as kd
from kdvideo import models

BUILDERS = {
    "s3dg": models.s3dg,
    "s3dg, stem of 1 frame": lambda *args, **options: models.s3dg(*args, first_temporal_kernel=1, **options),
    "s3d": models.s3d,
    "i3d": models.i3d,
}


def build(name="s3dg", window=16):
    torch.manual_seed(0)
    network = models.causal(BUILDERS[name](5, depth_multiplier=0.125, min_depth=8), window=window).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:  # the published start has identities in time, and logits near 0
            torch.nn.init.normal_(parameter, std=(8 / parameter[0].numel()) ** 0.5)
    return network


def stream(network, video, state=None, block=1):
    state, found = state or {}, []
    with torch.no_grad():
        for frames in video.split(block, 2):
            logits, state = network(frames, state)
            found.append(logits)
    return found, state


@pytest.mark.parametrize("block", [1, 3, 8, 32])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_stream_gives_the_logits_of_the_clip(name, block):
    """Fails when a window keeps a frame too few or too many, and when a mean forgets its oldest step too early."""
    network, video = build(name), torch.randn(2, 3, 32, 32, 32)
    found, _ = stream(models.streaming(network), video, block=block)
    with torch.no_grad():
        expected = torch.stack([network(video[:, :, :t]) for t in (8, 16, 24, 32)], 1)
    torch.testing.assert_close(torch.cat(found, 1) / expected.std(), expected / expected.std(), rtol=0, atol=1e-5)
    if block == 1:
        assert [logits.shape for logits in found] == [(2, (t + 1) % 8 == 0, 5) for t in range(32)]


def test_the_future_changes_nothing():
    """Fails when padding stands behind the frames, as in the network that sees whole clips."""
    network, video = models.streaming(build()), torch.randn(1, 3, 24, 32, 32)
    other = torch.cat([video[:, :, :16], torch.randn(1, 3, 8, 32, 32)], 2)
    (first,), (second,) = stream(network, video, block=24)[0], stream(network, other, block=24)[0]
    assert torch.equal(first[:, :2], second[:, :2])
    assert not torch.allclose(first[:, 2], second[:, 2], rtol=1e-3)


def test_after_warm_up_the_window_alone_counts_in_constant_memory():
    """Fails when a mean runs over all frames since the start."""
    network, shared = models.streaming(build(window=8)), torch.randn(1, 3, 160, 32, 32)
    histories = [torch.randn(1, 3, count, 32, 32) for count in (8, 64)]
    states = [stream(network, history, block=8)[1] for history in histories]
    sizes = [{path: kept.shape for path, kept in state.items()} for state in states]
    found = [torch.cat(stream(network, shared, state, block=8)[0], 1) for state in states]
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) > 20
    assert not torch.allclose(found[0][:, 0], found[1][:, 0], rtol=1e-3)
    torch.testing.assert_close(found[0][:, -1], found[1][:, -1], rtol=1e-5, atol=1e-6)


def test_layers_against_their_definitions():
    """Fails when a window ends before its stride does, or when a gate averages over more steps than the window."""
    network = build(window=8)
    taps = {"conv_1a.conv": "stem", "maxpool_3a": "3a", "mixed_4b.branch_0.conv_0a": "x", "mixed_4b.branch_0.gate": "y"}
    clip = torch.randn(1, 3, 24, 32, 32)
    with torch.no_grad():
        seen = kd.FeatureExtractor(network, {**taps, "mixed_3c": "3c", "maxpool_4a": "4a"})(clip).features
    stem = network.get_submodule("conv_1a.conv").weight
    expected = F.conv3d(F.pad(clip, (2, 3, 2, 3, 1, 0)), stem, stride=2)
    torch.testing.assert_close(seen["stem"], expected, rtol=1e-4, atol=1e-4)
    before = F.pad(seen["3c"], (0, 1, 0, 1, 1, 0), value=-torch.inf)
    torch.testing.assert_close(seen["4a"], F.max_pool3d(before, 3, 2))
    gate, x = network.get_submodule("mixed_4b.branch_0.gate.linear").weight, seen["x"]
    for t in range(6):  # at stride 4, a window of 8 frames is 2 steps
        mean = x[:, :, max(t - 1, 0) : t + 1].mean((2, 3, 4))
        expected = x[:, :, t] * torch.sigmoid(mean @ gate.T)[..., None, None]
        torch.testing.assert_close(seen["y"][:, :, t], expected, rtol=1e-3, atol=1e-4)


def test_a_kernel_below_its_stride_sees_the_last_frames():
    """Fails when the window of one frame at stride 2 begins with its stride: frame 0 in the place of 1."""
    network, clip = build("s3dg, stem of 1 frame"), torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        seen = kd.FeatureExtractor(network, {"conv_1a.conv": "stem"})(clip).features["stem"]
    weight = network.get_submodule("conv_1a.conv").weight
    expected = F.conv3d(F.pad(clip[:, :, 1::2], (2, 3, 2, 3)), weight, stride=(1, 2, 2))
    torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-4)


def test_logits_are_the_mean_of_the_last_steps():
    """Fails when the head gives the logits of the last step alone, or of all steps."""
    network, clip = build(window=16), torch.randn(1, 3, 24, 32, 32)
    with torch.no_grad():
        logits = network(clip)
        seen = kd.FeatureExtractor(network, {"mixed_5c": "5c"})(clip).features["5c"]
        steps = network.get_submodule("head.proj")(seen[..., 0, 0].mT)  # (1, 3, 5), of a map of one pixel
    torch.testing.assert_close(logits, steps[:, -2:].mean(1), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits, steps[:, -1], rtol=1e-2)
    assert not torch.allclose(logits, steps.mean(1), rtol=1e-2)


def test_a_state_is_a_value():
    """Fails when a call changes the state that it was given: the stream could not be continued twice."""
    network, video = models.streaming(build(window=8)), torch.randn(1, 3, 16, 32, 32)
    _, state = stream(network, video[:, :, :5])
    kept = {path: value.clone() for path, value in state.items()}
    first, second = (stream(network, video[:, :, 5:], state)[0][-1] for _ in range(2))
    assert torch.equal(first, second)
    assert state.keys() == kept.keys()
    assert all(torch.equal(state[path], value) for path, value in kept.items())


def test_wrong_input_is_refused():
    """Fails when a network that sees the future, or a state of another size, is taken."""
    network = models.s3dg(5, depth_multiplier=0.125, min_depth=8)
    with pytest.raises(ValueError, match="past only"):
        models.streaming(network)
    for window in (0, 12):
        with pytest.raises(ValueError, match="multiple of 8"):
            models.causal(network, window=window)
    with pytest.raises(ValueError, match="non-local"):
        models.causal(network.rebuild(non_local=("4C",)))
    with pytest.raises(ValueError, match="s3dg, s3d or i3d"):
        models.causal(models.causal(network))
    streaming = models.streaming(build())
    _, state = stream(streaming, torch.randn(1, 3, 8, 32, 32), block=8)
    with pytest.raises(ValueError, match="those before"):
        streaming(torch.randn(1, 3, 8, 48, 48), state)
    with pytest.raises(ValueError, match="float"):
        streaming(torch.randn(1, 2, 8, 32, 32))
    with pytest.raises(ValueError, match=r"batch and size of those before, \(1, .*got \(2, "):
        streaming(torch.randn(2, 3, 8, 32, 32), state)
    with pytest.raises(ValueError, match=r">= \(1, "):
        streaming(torch.randn(1, 3, 8, 4, 32))


def test_the_state_of_another_window_is_refused():
    """Fails when gates get means of more steps than there are frames: the frames would be repeated unnoticed."""
    long, short = (models.streaming(build(window=window)) for window in (16, 8))
    _, state = stream(long, torch.randn(1, 3, 8, 32, 32), block=8)
    with pytest.raises(ValueError, match=r"with this window, got means over 8 steps in place of 4"):
        short(torch.randn(1, 3, 8, 32, 32), state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_stream_stays_in_its_type(dtype):
    """Fails when zeros of the past, or no logits, are float32: what they are joined with would change its type."""
    network = models.streaming(build(window=8).to(dtype))
    found, state = stream(network, torch.randn(1, 3, 16, 32, 32).to(dtype))
    assert {value.dtype for value in (*found, *state.values())} == {dtype}


def test_the_network_itself_stays_as_it_was_and_says_the_window():
    """Fails when the layers are replaced in the network that is given, or its clips do not say the window."""
    network = models.s3dg(5, depth_multiplier=0.125, min_depth=8).eval()
    network.input_spec = replace(network.input_spec, frames=16)
    clip = torch.randn(1, 3, 16, 32, 32)
    with torch.no_grad():
        before = network(clip)
        student = models.causal(network)
        assert torch.equal(network(clip), before)
    assert student.config["window"] == 16
    student.get_submodule("conv_1a.conv").weight.data.zero_()
    assert network.get_submodule("conv_1a.conv").weight.abs().sum() > 0


def test_a_saved_network_stays_causal(tmp_path):
    """Fails when the configuration is that of the network it was made from."""
    network, clip = build(), torch.randn(1, 3, 16, 32, 32)
    models.save_pretrained(network, tmp_path, classes=list("abcde"))
    loaded = models.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(loaded(clip), network(clip))
    assert models.resize_head(loaded, 7)(clip).shape == (1, 7)


def test_a_block_of_frames_exports():
    """Fails when the state is anything but tensors that go in and come out."""
    network = models.streaming(build()).eval()
    video = torch.randn(1, 3, 24, 32, 32)
    (*_, expected), _ = stream(network, video, block=8)
    _, state = stream(network, video[:, :, :8], block=8)
    program = torch.export.export(network, (video[:, :, 8:16], state)).module()
    with torch.no_grad():
        for frames in video[:, :, 8:].split(8, 2):
            logits, state = program(frames, state)
    torch.testing.assert_close(logits, expected)


def test_a_stream_costs_no_more_multiply_adds_than_a_clip():
    """Fails when a frame is computed twice."""
    network = build()
    clip = torch.empty(1, 3, 64, 64, 64, device="meta")
    original = models.s3dg(5, depth_multiplier=0.125, min_depth=8)
    streamed = models.multiply_adds(models.streaming(network), clip)
    assert 0.9 < streamed / models.multiply_adds(original, clip) <= 1.01


def test_the_student_is_trained_on_clips():
    """Fails when a weight gets no gradient, or when its layers cannot be tapped."""
    student = kd.Student(build().train(), {"mixed_4c": "4c"})
    output = student(torch.randn(2, 3, 16, 32, 32))
    (output.logits.square().sum() + output.features["4c"].mean()).backward()
    assert all(p.grad is not None for p in student.parameters())


def test_a_network_without_dropout():
    """Fails when the head must have a dropout: pytorchvideo makes none with a rate of zero."""
    network = models.causal(models.i3d(5, depth_multiplier=0.125, min_depth=8, dropout=0.0), window=16)
    assert network(torch.zeros(1, 3, 16, 32, 32)).shape == (1, 5)
