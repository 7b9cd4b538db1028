"""Initialisation, options, input errors, head, gates and non-local blocks of S3D-G and I3D."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kdvideo import models
from kdvideo.models.inception.head import ShrinkingAvgPool3d, basic_head
from kdvideo.models.inception.s3dg import Gate, separable_conv

BUILDERS = [models.s3dg, models.i3d]


def tiny(build=models.s3dg, **kwargs):
    return build(3, depth_multiplier=0.125, min_depth=8, **kwargs)


def test_at_the_start_the_network_is_its_2d_inflation():
    torch.manual_seed(0)
    clip = torch.randn(2, 3, 8, 32, 32)
    with_temporal = tiny().eval()
    without = tiny(temporal_from=None).eval()
    weights = [v for k, v in with_temporal.state_dict().items() if ".temporal." not in k]
    without.load_state_dict(dict(zip(without.state_dict(), weights, strict=True)))
    with torch.no_grad():
        torch.testing.assert_close(with_temporal(clip), without(clip))


def test_initial_weights():
    torch.manual_seed(0)
    model = models.s3dg(400, depth_multiplier=0.5)
    for module in (model.conv_2b.conv, model.mixed_5c.branch_1.gate.linear, model.conv_2c.conv.spatial.conv):
        assert module.weight.abs().max() <= 0.02
        # A normal of deviation 0.01 cut at two deviations has deviation 0.0088.
        assert abs(module.weight.std().item() - 0.0088) < 4e-4
        assert module.bias is None
    head = model.head.proj
    bound = (6 / (512 + 400)) ** 0.5
    assert 0.99 * bound < head.weight.abs().max() <= bound
    assert not head.bias.any()
    norm = model.conv_2b.bn
    assert (norm.eps, norm.momentum, norm.weight) == (1e-3, 1e-3, None)
    assert model.head.dropout.p == 0.2
    assert models.i3d(depth_multiplier=0.1).head.dropout.p == 0.5


def test_separable_conv_has_bias_and_relu_but_no_norm():
    torch.manual_seed(0)
    unit = separable_conv(4, 6, 3).eval()
    nn.init.normal_(unit.spatial.conv.weight)
    clip = torch.randn(2, 4, 5, 6, 6)
    torch.testing.assert_close(unit(clip), unit.spatial(clip))  # at the start the temporal part is the identity
    nn.init.normal_(unit.temporal.weight)
    nn.init.normal_(unit.temporal.bias)
    x = torch.randn(2, 4, 5, 6, 6)
    spatial = F.relu(F.conv3d(x, unit.spatial.conv.weight, padding=(0, 1, 1)) / (1 + 1e-3) ** 0.5)
    expected = F.relu(F.conv3d(spatial, unit.temporal.weight, unit.temporal.bias, padding=(1, 0, 0)))
    torch.testing.assert_close(unit(x), expected)


def test_gate_equation():
    gate, x = Gate(4), torch.randn(2, 4, 3, 5, 6)
    mean = x.double().mean((2, 3, 4))
    weight = torch.sigmoid(mean @ gate.linear.weight.double().T)
    torch.testing.assert_close(gate(x), (x * weight[:, :, None, None, None]).float())


def test_head_weighs_the_steps_as_the_graph_does():
    steps = torch.zeros(1, 1, 8, 7, 7)
    head = basic_head(1, 1, dropout=0.0)
    nn.init.ones_(head.proj.weight)
    weights = []
    for t in range(8):
        x = steps.clone()
        x[:, :, t] = 1
        weights.append(head(x).item())
    torch.testing.assert_close(torch.tensor(weights), torch.tensor([1 / 14] + [1 / 7] * 6 + [1 / 14]))


@settings(deadline=None, max_examples=30)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
)
def test_head_pool_is_average_pooling_with_a_shrunk_kernel(size, kernel):
    x = torch.randn(2, 3, *size)
    shrunk = tuple(min(k, n) for k, n in zip(kernel, size, strict=True))
    torch.testing.assert_close(ShrinkingAvgPool3d(kernel)(x), F.avg_pool3d(x, shrunk, stride=1))


def test_larger_input_averages_the_positions():
    torch.manual_seed(0)
    model = tiny().eval()
    captured = []
    model.mixed_5c.register_forward_hook(lambda _, __, out: captured.append(out))
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 24, 256, 288))
        (features,) = captured
        assert features.shape[2:] == (3, 8, 9)
        pooled = F.avg_pool3d(features, (2, 7, 7), stride=1).mean((2, 3, 4))
        torch.testing.assert_close(logits, model.head.proj(pooled))


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (torch.zeros(3, 8, 32, 32), "batch axis"),
        (torch.zeros(1, 2, 8, 32, 32), "flow 2"),
        (torch.zeros(1, 3, 7, 32, 32), r"\(8, 32, 32\), got .*\(1, 3, 7, 32, 32\)"),
        (torch.zeros(1, 3, 8, 32, 31), r"\(8, 32, 32\), got .*\(1, 3, 8, 32, 31\)"),
        (torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8), r"torch\.uint8.*scale"),
    ],
)
def test_bad_input(build, clip, words):
    with pytest.raises(ValueError, match=words):
        tiny(build)(clip)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"first_temporal_kernel": 2},
        {"temporal_from": "1A"},
        {"gates_from": "2Z"},
        {"non_local": ("3A",)},
        {"depth_multiplier": 0.0},
        {"depth_multiplier": "1"},
        {"depth_multiplier": math.inf},
        {"min_depth": 0},
        {"min_depth": 8.0},
        {"in_channels": 0},
        {"in_channels": "3"},
        {"num_classes": 0},
        {"num_classes": "5"},
        {"dropout": -0.1},
        {"dropout": 2},
    ],
)
def test_bad_options(kwargs):
    """Fails when an option is not checked, such as a classifier of no class, which is built silently."""
    with pytest.raises(ValueError, match=next(iter(kwargs)) + " must be"):
        models.s3dg(**{"num_classes": 3} | kwargs)
    if kwargs.keys() <= {"num_classes", "in_channels", "depth_multiplier", "min_depth", "dropout"}:
        for build in (models.s3d, models.i3d):
            with pytest.raises(ValueError, match=next(iter(kwargs)) + " must be"):
                build(**{"num_classes": 3} | kwargs)


def test_one_layer_as_text_is_refused():
    """Fails when the text is read letter by letter: the error names the layer '4', which nobody wrote."""
    with pytest.raises(ValueError, match=r"non_local must be a tuple of layers, got '4C': \('4C',\)"):
        models.s3dg(3, non_local="4C")


def test_options():
    with torch.device("meta"):
        model = models.s3dg(5, first_temporal_kernel=7, temporal_from="4B", gates_from="5B")
    assert model.conv_1a.conv.kernel_size == (7, 7, 7)
    first = {type: min(n for n, m in model.named_modules() if n.endswith(type)) for type in (".temporal", ".gate")}
    assert first == {".temporal": "mixed_4b.branch_1.conv_0b.temporal", ".gate": "mixed_5b.branch_0.gate"}
    with torch.device("meta"):
        plain = models.s3dg(5, gates_from=None)
    assert not [n for n, _ in plain.named_modules() if n.endswith(".gate")]


@pytest.mark.parametrize("build", BUILDERS)
def test_config_rebuilds_the_model(build):
    model = tiny(build, in_channels=2, dropout=0.1)
    config = dict(model.config)
    assert config.pop("architecture") == build.__name__
    again = build(**config)
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert again.head.dropout.p == 0.1


def test_non_local_starts_as_the_identity_and_learns():
    torch.manual_seed(0)
    plain = tiny()
    attentive = tiny(non_local=models.NON_LOCAL)
    missing = attentive.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert {key.split(".")[0] for key in missing.missing_keys} == {"non_local_4c", "non_local_4e"}
    features = torch.randn(2, attentive.non_local_4c.conv_theta.in_channels, 2, 4, 4)
    assert torch.equal(attentive.non_local_4c(features), features)
    clip = torch.randn(2, 3, 8, 32, 32)
    attentive.train()(clip).sum().backward()
    assert attentive.non_local_4c.norm.weight.grad.abs().sum() > 0
    order = list(dict(attentive.named_children()))
    assert order[order.index("non_local_4c") - 1] == "mixed_4c"
    assert attentive.layer_names == plain.layer_names


@pytest.mark.parametrize("build", BUILDERS)
def test_every_parameter_learns(build):
    torch.manual_seed(0)
    model = tiny(build).train()
    F.cross_entropy(model(torch.randn(4, 3, 16, 64, 64)), torch.tensor([0, 1, 2, 0])).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


VARIANTS = [(models.s3dg, {}), (models.s3dg, {"non_local": models.NON_LOCAL}), (models.i3d, {}), (models.s3d, {})]


@pytest.mark.parametrize(("build", "options"), VARIANTS)
def test_compile_without_a_graph_break(build, options):
    torch.manual_seed(0)
    model = tiny(build, **options).eval()
    clip = torch.randn(1, 3, 9, 33, 40)
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(clip), model(clip))


@pytest.mark.parametrize(("build", "options"), VARIANTS)
@settings(deadline=None, max_examples=8)
@given(size=st.tuples(st.integers(8, 40), st.integers(32, 90), st.integers(32, 90)))
def test_any_size_gives_logits(build, options, size):
    with torch.no_grad():
        assert tiny(build, **options).eval()(torch.randn(1, 3, *size)).isfinite().all()


@pytest.mark.parametrize("build", [models.s3dg, models.i3d, models.s3d])
def test_a_whole_video_is_the_mean_over_its_positions(build):
    """250 frames give 31 pooled positions over 32 steps."""
    torch.manual_seed(0)
    model, captured = tiny(build).eval(), []
    model.mixed_5c.register_forward_hook(lambda _, __, out: captured.append(out))
    with torch.no_grad():
        logits = model(torch.randn(1, 3, 250, 32, 32))
    steps = captured[0].mean((3, 4))
    assert steps.shape[2] == {models.s3d: 31}.get(build, 32)
    pooled = F.avg_pool1d(steps, 2, stride=1).mean(2)
    torch.testing.assert_close(logits, model.head.proj(pooled))


def test_deepcopy_and_synchronised_batch_norm_keep_the_shift():
    model = tiny()
    nn.init.constant_(model.conv_2b.bn.bias, 3.0)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
    norm = converted.conv_2b.bn
    assert isinstance(norm, nn.SyncBatchNorm)
    assert norm.weight is None
    assert torch.equal(norm.bias, model.conv_2b.bn.bias)


def test_multiply_adds_leaves_the_model_alone():
    model = tiny().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert models.multiply_adds(model, torch.zeros(1, 3, 8, 32, 32)) > 0
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
