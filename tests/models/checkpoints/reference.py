"""What the reference networks of these tests share: the published widths, TensorFlow's padding, random weights."""

import torch
import torch.nn.functional as F

WIDTHS = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
SMALL = {"depth_multiplier": 0.125, "min_depth": 8}


def narrow(width):
    """As SMALL makes it."""
    return max(width // 8, 8)


def pad_same(x, kernel, stride, value=0.0):
    pads = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = max(k - s if size % s == 0 else k - size % s, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def pool_same(x, kernel, stride):
    return F.max_pool3d(pad_same(x, kernel, stride, -torch.inf), kernel, stride)


def classify(features, weight, bias):
    """Pool (2, H, W), linear, mean over the steps."""
    pooled = F.avg_pool3d(features, (2, *features.shape[3:]), stride=1).flatten(2)
    return (weight.flatten(1) @ pooled + bias[:, None]).mean(2)


def randomise(state, seed=0):
    """Random values of a sane size for all of a state dict, in place, batch statistics too; the state dict."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in state.items():
        if not value.is_floating_point():
            value.fill_(7)
        elif value.ndim > 1:
            value.normal_(0, value[0].numel() ** -0.5, generator=generator)
        else:
            low = 0.5 if name.endswith(("var", "variance", "weight", "gamma")) else -0.5
            value.uniform_(low, low + 1, generator=generator)
    return state


def assert_close(got, expected):
    assert got.shape == expected.shape
    assert expected.norm() > 1e-3
    assert (got - expected).norm() <= 1e-5 * expected.norm()


def assert_equal_states(got, expected):
    """Bit-equal, in the same order; the names may differ, a linear layer may be a 1x1x1 convolution."""
    assert len(got) == len(expected)
    for (key, a), (name, b) in zip(got.items(), expected.items(), strict=True):
        assert torch.equal(a, b.reshape(a.shape)), (key, name)
