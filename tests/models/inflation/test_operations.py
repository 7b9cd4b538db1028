"""What a forward may do when a network is inflated: each against the 2-D original or against padding by hand."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdvideo.models.inflation import average, inflate
from kdvideo.models.inflation.filters import EdgeConv3d, FramePool, per_frame


def repeated(clip, kernel):
    """Edge frames repeated as TensorFlow's SAME padding places zeros."""
    before = (kernel - 1) // 2
    return F.pad(clip, (0, 0, 0, 0, before, kernel - 1 - before), mode="replicate")


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 1), (3, 1), (3, 2), (4, 3), (7, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_time_is_padded_by_its_edges(kernel, stride, layout):
    torch.manual_seed(0)
    clip = torch.rand(2, 4, 5, 9, 8, dtype=torch.float64).contiguous(memory_format=layout)
    padded, steps = repeated(clip, kernel), -(-5 // stride)
    conv = EdgeConv3d(4, 6, (kernel, 3, 3), (stride, 1, 1), (0, 1, 1), groups=2).double()
    expected = F.conv3d(padded, conv.weight, conv.bias, (stride, 1, 1), (0, 1, 1), groups=2)
    torch.testing.assert_close(conv(clip), expected)
    assert expected.shape[2] == steps
    size, strides, padding = (kernel, 3, 3), (stride, 2, 2), (0, 1, 1)
    maximum = FramePool(nn.MaxPool2d(3, 2, 1), (kernel, stride), torch.amax)
    torch.testing.assert_close(maximum(clip), F.max_pool3d(padded, size, strides, padding))
    mean = FramePool(nn.AvgPool2d(3, 2, 1), (kernel, stride), torch.mean)
    torch.testing.assert_close(mean(clip), F.avg_pool3d(padded, size, strides, padding))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_pools_keep_the_memory_layout(layout):
    clip = torch.rand(2, 4, 5, 8, 8).contiguous(memory_format=layout)
    assert per_frame(clip, nn.MaxPool2d(2)).is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (nn.MaxPool2d(2), lambda clip: F.max_pool3d(repeated(clip, 3), (3, 2, 2), (1, 2, 2))),
        (nn.AvgPool2d(2), lambda clip: F.avg_pool3d(repeated(clip, 3), (3, 2, 2), (1, 2, 2))),
        (nn.AdaptiveMaxPool2d((2, 3)), lambda clip: F.adaptive_max_pool3d(clip, (1, 2, 3))),
        (nn.AdaptiveAvgPool2d((2, 3)), lambda clip: F.adaptive_avg_pool3d(clip, (1, 2, 3))),
    ],
)
def test_time_is_pooled_as_space_is(pool, expected):
    clip = torch.rand(2, 3, 5, 6, 6)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), pool, nn.Linear(3, 2))
    layer = inflate(network, temporal=lambda path, layer: (3, 1) if path == "1" else (1, 1)).network[1]
    torch.testing.assert_close(layer(clip), expected(clip))


class Net(nn.Module):
    """A classifier around one function of 8 feature maps."""

    def __init__(self, function, width=8):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 2, dilation=2, bias=False), nn.BatchNorm2d(8)
        self.function = function
        self.pool, self.flatten, self.fc = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5)
        nn.init.uniform_(self.norm.running_mean)
        self.scale = nn.Parameter(torch.rand(8))
        self.gain = nn.Parameter(torch.rand(()))

    def forward(self, x):
        return self.fc(self.flatten(self.pool(self.function(self, self.norm(self.conv(x))))))


KNOWN = {
    "sums": (lambda m, x: (x * m.gain - x.relu()).add(1.0) / 3 + F.silu(x), 8),
    "avg": (lambda m, x: F.avg_pool2d(x, 3, 2, padding=1), 8),
    "avg_ceil": (lambda m, x: F.avg_pool2d(x, (3, 2), ceil_mode=True, count_include_pad=False), 8),
    "max": (lambda m, x: F.max_pool2d(x, 3, 2, 1) + F.max_pool2d(x, kernel_size=3, stride=2, padding=1), 8),
    "max_then_avg": (lambda m, x: F.avg_pool2d(F.max_pool2d(x, 2), 2), 8),
    "squeeze": (lambda m, x: x * x.mean((2, 3), keepdim=True).sigmoid() * torch.amax(x, dim=[-2, -1], keepdim=True), 8),
    "adaptive": (lambda m, x: F.adaptive_avg_pool2d(x, (2, 1)) + F.adaptive_max_pool2d(x, (2, 1)), 8),
    "cat": (lambda m, x: torch.cat([x, torch.split(x, 2, 1)[1], x.chunk(2, dim=1)[-1]], dim=1), 14),
    "slices": (lambda m, x: torch.cat((x[:, :3], x[:, 5:, :, :]), 1).softmax(1), 6),
    "dropout": (lambda m, x: F.dropout(x, 0.5, training=m.training), 8),
}


@pytest.mark.parametrize("name", KNOWN)
@torch.no_grad()
def test_known_functions(name):
    torch.manual_seed(0)
    network, picture = Net(*KNOWN[name]).eval(), torch.rand(2, 3, 23, 23)
    video = inflate(network)
    still = picture.unsqueeze(2).expand(-1, -1, 3, -1, -1)
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        clip = still.contiguous(memory_format=layout)
        for model in (video, copy.deepcopy(video), pickle.loads(pickle.dumps(video))):
            torch.testing.assert_close(model(clip), network(picture), rtol=0, atol=1e-5)
    torch._dynamo.reset()
    compiled = torch.compile(video, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(still), network(picture), rtol=0, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_a_functional_dropout_follows_the_mode(training):
    torch.manual_seed(0)
    clip, video = torch.rand(2, 3, 2, 9, 9), inflate(Net(*KNOWN["dropout"]).train(training)).train(training)
    video.network.norm.eval()
    for mode in (training, not training):
        assert torch.equal(video(clip), video(clip)) != mode
        video.train(not training).network.norm.eval()


def test_a_functional_pool_can_get_a_temporal_size():
    torch.manual_seed(0)
    network, seen = Net(*KNOWN["avg"]).eval(), []
    video = inflate(network, temporal={"functional_avg_pool2d": (3, 2)})
    video.network.pool.register_forward_hook(lambda module, args, output: seen.append(args[0].shape[2]))
    video(torch.rand(1, 3, 5, 9, 9))
    assert seen == [3]


UNKNOWN = {
    "permute(": lambda m, x: x.permute(0, 1, 3, 2),
    "shape": lambda m, x: x * x.shape[-1],
    "get_attr scale()": lambda m, x: x + m.scale,
    "mean(norm, (1, 2, 3), keepdim=True)": lambda m, x: x * x.mean((1, 2, 3), keepdim=True),
    "mean(norm, 3, keepdim=True)": lambda m, x: x.mean(3, keepdim=True),
    "mean(norm, [3], keepdim=True)": lambda m, x: x.mean([3], keepdim=True),
    "cat([norm, norm], 2)": lambda m, x: torch.cat([x, x], 2),
    "cat([norm, norm], dim=-1)": lambda m, x: torch.cat([x, x], dim=-1),
    "flatten(norm, 2)": lambda m, x: x.flatten(2),
    "flatten(norm, 1, 2)": lambda m, x: x.flatten(1, 2),
    "getitem(norm, (slice(None": lambda m, x: x[:, :, 1:],
    "getitem(norm, Ellipsis": lambda m, x: x[...],
    "training=True": lambda m, x: F.dropout(x, 0.5, training=True),
    "pad(": lambda m, x: F.pad(x, (1, 1, 1, 1)),
    "interpolate(": lambda m, x: F.interpolate(x, scale_factor=2),
    "module norm(norm, ": lambda m, x: m.norm(x, x),
    "control flow": lambda m, x: x if x.sum() > 0 else -x,
    "another path in training": lambda m, x: x if m.training else -x,
    "another path": lambda m, x: F.max_pool2d(x, 3 if m.training else 2),
}


@pytest.mark.parametrize("words", UNKNOWN)
def test_unknown_functions_are_named(words):
    with pytest.raises(ValueError) as error:
        inflate(nn.Sequential(nn.Identity(), Net(UNKNOWN[words])))
    message = str(error.value)
    assert message.startswith("1 (Net) cannot be inflated: ")
    assert words in message
    assert "What can be inflated" in message


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(8, 8, 3, padding="same"),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3)),
        nn.ConvTranspose2d(8, 8, 3),
        nn.InstanceNorm2d(8),
        nn.Softmax(2),
        nn.LayerNorm(8),
        nn.Flatten(2),
        nn.MaxPool2d(2, return_indices=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_unknown_layers_are_named(layer):
    network = nn.Sequential(nn.Conv2d(3, 8, 3), layer, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match=rf"^1\S* \({type(layer).__name__}|^1\.parametrizations"):
        inflate(network)


def test_other_known_layers():
    torch.manual_seed(0)
    shared = nn.ReLU()
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, groups=1), shared, nn.Dropout2d(0.5), nn.AvgPool2d(3, 1, 1, divisor_override=4)),
        *(nn.Conv2d(8, 8, 5, padding=2, groups=4), shared, nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.AdaptiveMaxPool2d((2, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
    ).eval()
    picture = torch.rand(2, 3, 16, 16)
    video = inflate(network, temporal=lambda path, layer: (3, 1) if path in "0346" else (1, 1))
    torch.testing.assert_close(video(picture.unsqueeze(2).expand(-1, -1, 4, -1, -1)), network(picture))
    assert video.network[1] is video.network[5]
    torch.testing.assert_close(video.network[0].weight, average(network[0].weight, 3))
    dropped = video.network[2].train()(torch.ones(64, 2, 2, 2, 2))
    assert (dropped.flatten(2).std(-1) == 0).all(), "whole feature maps are dropped"
