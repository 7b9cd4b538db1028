"""The adapter for pytorchvideo's backbones: logits, one tensor in, layers by path."""

import inspect
import json

import pytest
import torch
from torch import nn

import kdvideo as kd
from kdvideo import models
from kdvideo.models import checkpoints
from kdvideo.models.adapters.pytorchvideo import BACKBONES
from kdvideo.models.adapters.surgery import pathways
from kdvideo.models.build import build

MVIT = {
    "depth": 4,
    "spatial_size": 32,
    "embed_dim_mul": [[1, 2.0], [2, 2.0], [3, 2.0]],
    "atten_head_mul": [[1, 2.0], [2, 2.0], [3, 2.0]],
    "pool_q_stride_size": [[1, 1, 2, 2], [2, 1, 2, 2], [3, 1, 2, 2]],
}
OPTIONS = {  # small networks, where the builder allows it
    "mvit_base_16": MVIT,
    "mvit_base_16x4": {**MVIT, "temporal_size": 8},
    "mvit_base_32x3": {**MVIT, "temporal_size": 8},
}
# The head pools with which the original takes 8 x 32 x 32; the adapter finds them by itself.
SLOWFAST = [(2, 1, 1), (8, 1, 1)]
POOLS = {
    "c2d_r50": [(4, 1, 1)],
    "csn_r101": [(1, 1, 1)],
    "i3d_r50": [(4, 1, 1)],
    "r2plus1d_r50": [(2, 1, 1)],
    "slow_r50": [(8, 1, 1)],
    "slow_r50_detection": [(8, 1, 1)],
    "slowfast_r101": SLOWFAST,
    "slowfast_r50": SLOWFAST,
    "slowfast_r50_detection": SLOWFAST,
    "x3d_xs": [(4, 1, 1)],
    **{f"x3d_{size}": [(8, 1, 1)] for size in "sml"},
}
BOXES = torch.tensor([[0.0, 2.0, 3.0, 30.0, 20.0], [1.0, 0.0, 0.0, 16.0, 16.0], [0.0, 5.0, 5.0, 25.0, 31.0]])


def device(name):
    return torch.device("cpu" if name.startswith("mvit") else "meta")  # MViT's builder reads a tensor's values


def filled(network):
    """Weights for a network without any, of a size that keeps the signal alive; cheaper than its own start."""
    generator = torch.Generator().manual_seed(0)
    network = network.to_empty(device="cpu").eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim > 1:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
            elif tensor.is_floating_point():
                tensor.fill_(1.0 if name.endswith("running_var") else 0.5 if name.endswith("weight") else 0.0)
    return network


def original(name, *, pools=(), logits=True, **kwargs):
    from pytorchvideo.models import hub

    with device(name):
        network = filled(getattr(hub, name)(**kwargs))
    if pools:
        found = [m for m in network.modules() if isinstance(m, nn.AvgPool3d)]
        for pool, kernel in zip(found, pools, strict=True):
            pool.kernel_size = kernel
    for head in [m for m in network.modules() if hasattr(m, "activation") and hasattr(m, "proj") and logits]:
        head.activation = None
    return network


def twins(name):
    """The adapter and the original, sharing their weights."""
    options = OPTIONS.get(name, {})
    inner = original(name, pools=POOLS.get(name, ()), **{BACKBONES[name].classes: 5}, **options)
    with device(name):
        model = models.pytorchvideo(name, num_classes=5, **options).eval()
    model.network.load_state_dict(inner.state_dict(), assign=True)
    return model, inner


def inputs(name, *, frames=8):
    clip = torch.randn(
        2, 3, 1 if name == "mvit_base_16" else frames, 32, 32, generator=torch.Generator().manual_seed(1)
    )
    return (clip, BOXES) if name.endswith("detection") else (clip,)


def check_layers(model, *inputs):
    """Every layer named runs once, and nothing overwrites its output."""
    names = list(model.layer_names)
    first = {name: lambda out: out[0] if isinstance(out, (list, tuple)) else out for name in names}
    features = kd.FeatureExtractor(model, names, select=first)(*inputs).features
    assert list(features) == names


def test_every_backbone_of_the_hub_is_there():
    from pytorchvideo.models import hub

    assert set(BACKBONES) == {name for name, f in vars(hub).items() if inspect.isfunction(f)}


# Building a whole MViT takes seconds.
@pytest.mark.parametrize(
    ("name", "channels"),
    [("mvit_base_16", 2), ("mvit_base_32x3", 3)]
    + [(name, channels) for name in sorted(BACKBONES) if "mvit" not in name for channels in (2, 3)],
)
def test_shapes_at_the_published_size(name, channels):
    with device(name):
        model = models.pytorchvideo(name, num_classes=7, in_channels=channels).eval().to("meta")
    spec = model.input_spec
    assert (spec.frames, spec.size) == (BACKBONES[name].frames, BACKBONES[name].size)
    assert len(spec.mean) == len(spec.std) == (3 if channels == 3 else 0)
    more = (torch.empty(4, 5, device="meta"),) if name.endswith("detection") else ()
    for size in ((spec.frames, spec.size, spec.size), model.fixed or model.minimum):
        clip = torch.empty(2, channels, *size, device="meta")
        assert model(clip, *more).shape == (4 if more else 2, 7)
    check_layers(model, clip, *more)


@pytest.mark.parametrize("name", sorted(set(BACKBONES) - {"slowfast_16x8_r101_50_50"}))
def test_equals_the_original(name):
    model, inner = twins(name)
    heads = [m for m in inner.modules() if isinstance(m, nn.Linear) and m.out_features == 5]
    nn.init.constant_(heads[-1].bias, 3.0)
    clip, *boxes = inputs(name)
    before = clip.clone()
    feed = [clip[:, :, [0, 7]], clip] if name.startswith("slowfast") else clip[:, :, 0] if clip.shape[2] == 1 else clip
    with torch.no_grad():
        logits, expected = model(clip, *boxes), inner(feed, *boxes)
    assert logits.shape == (3 if boxes else 2, 5)
    assert logits.std() > 1e-3
    assert logits.max() > 1.5, "a softmax or sigmoid would give at most 1"
    assert (logits - expected).abs().max() <= 1e-6 * expected.abs().max().clamp(min=1)
    assert torch.equal(clip, before)


def test_detectors_are_the_original_before_its_sigmoid():
    model, _ = twins("slow_r50_detection")
    inner = original("slow_r50_detection", pools=[(8, 1, 1)], logits=False, model_num_class=5)
    clip, boxes = inputs("slow_r50_detection")
    with torch.no_grad():
        torch.testing.assert_close(model(clip, boxes).sigmoid(), inner(clip, boxes))


@pytest.mark.parametrize("boxes", [torch.zeros(5), torch.zeros(2, 4), torch.zeros(2, 5, dtype=torch.float64)])
def test_bad_boxes(boxes):
    with torch.device("meta"):
        model = models.pytorchvideo("slow_r50_detection")
    with pytest.raises(ValueError, match=r"boxes must be \(N, 5\)"):
        model(torch.zeros(1, 3, 4, 32, 32, device="meta"), boxes)


def test_published_size_and_larger_equal_the_original():
    inner = original("x3d_xs", model_num_class=5)
    with torch.device("meta"):
        model = models.pytorchvideo("x3d_xs", num_classes=5).eval()
    model.network.load_state_dict(inner.state_dict(), assign=True)
    for size in (160, 192):
        clip = torch.randn(1, 3, 4, size, size)
        with torch.no_grad():
            torch.testing.assert_close(model(clip), inner(clip))


@pytest.fixture(scope="module")
def slowfast():
    with torch.device("meta"):
        model = models.pytorchvideo("slowfast_r50", num_classes=5)
    filled(model)
    return model.eval()


def test_slowfast_features_are_not_overwritten(slowfast):
    kept, copies = [], []

    def keep(module, args, out):
        kept.append(out)
        copies.append([x.clone() for x in out])

    layers = [slowfast.get_submodule(slowfast.layer_names[n]) for n in ("stem", "res2", "res3", "res4", "res5")]
    handles = [layer.register_forward_hook(keep) for layer in layers]
    with torch.no_grad():
        slowfast(torch.randn(1, 3, 8, 32, 32))
    for handle in handles:
        handle.remove()
    assert len(kept) == 5
    for out, copied in zip(kept, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(out, copied, strict=True))


def test_slowfast_takes_more_frames_than_its_pools():
    with torch.device("meta"):
        model = models.pytorchvideo("slowfast_r50", num_classes=5).eval()
    assert model(torch.empty(2, 3, 64, 32, 32, device="meta")).shape == (2, 5)


def test_pathways_are_pytorchvideos():
    clip = torch.arange(32.0).reshape(1, 1, 32, 1, 1)
    slow, fast = pathways(clip)
    assert slow.flatten().tolist() == torch.linspace(0, 31, 8).long().tolist()
    assert fast is clip


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("i3d_r50", {"stem": "blocks.0", "res2": "blocks.1", "res3": "blocks.3", "head": "blocks.6"}),  # 2: a pool
        ("slowfast_r50", {"stem": "blocks.0", "res2": "blocks.1", "res5": "blocks.4", "head": "blocks.6"}),
        ("slow_r50_detection", {"stem": "model.blocks.0", "res5": "model.blocks.4", "head": "detection_head"}),
        ("efficient_x3d_xs", {"stem": "s1", "res2": "s2", "res5": "s5", "head": "projection"}),
        ("mvit_base_16x4", {"stem": "patch_embed", "scale2": "blocks.0", "scale5": "blocks.3", "head": "head"}),
    ],
)
def test_layer_names(name, expected):
    with device(name):
        model = models.pytorchvideo(name, **OPTIONS.get(name, {}))
    assert model.layer_names.items() >= {key: f"network.{path}" for key, path in expected.items()}.items()


@pytest.mark.parametrize(("name", "layer"), [("slowfast_r50", "res3"), ("mvit_base_16x4", "scale3"), ("x3d_s", "res4")])
def test_layers_can_be_tapped(name, layer):
    with device(name):
        model = models.pytorchvideo(name, **OPTIONS.get(name, {})).eval().to("meta")
    first = (lambda out: out) if name == "x3d_s" else (lambda out: out[0])  # the slow pathway; the tokens
    tapped = kd.FeatureExtractor(model, {layer: "x"}, select={"x": first})(torch.empty(2, 3, 8, 32, 32, device="meta"))
    expected = {"slowfast_r50": (2, 640, 2, 4, 4), "mvit_base_16x4": (2, 65, 384), "x3d_s": (2, 96, 8, 2, 2)}
    assert tapped.features["x"].shape == expected[name]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3, 10, 32, 32), "multiple of 4"),
        ((1, 2, 8, 32, 32), "flow 2"),
        ((1, 3, 8, 16, 32), "loop or resize"),
        ((1, 3, 4, 32, 32), r"\(8, 32, 32\), got .*: loop"),
    ],
)
def test_bad_input(slowfast, shape, words):
    with pytest.raises(ValueError, match=words):
        slowfast(torch.zeros(*shape))


@pytest.mark.parametrize("name", ["mvit_base_16x4", "mvit_base_16"])
def test_mvit_takes_one_size(name):
    model = models.pytorchvideo(name, **OPTIONS[name])
    frames = model.fixed[0]
    for shape in ((frames, 64, 64), (frames + 1, 32, 32), (frames, 32, 16)):
        with pytest.raises(ValueError, match=rf"\({frames}, 32, 32\)"):
            model(torch.empty(1, 3, *shape))


def test_unknown_name_lists_the_closest():
    with pytest.raises(ValueError, match=r"'slowfast_50': closest \['slowfast_r50'"):
        models.pytorchvideo("slowfast_50")


@pytest.mark.parametrize("name", ["mvit_base_16x4", "x3d_s", "efficient_x3d_xs"])
def test_file_round_trip(name, tmp_path):
    model = models.pytorchvideo(name, num_classes=2, in_channels=2, **OPTIONS.get(name, {})).eval()
    checkpoints.save(model, tmp_path / "m.safetensors", classes=["a", "b"], input_spec={"frames": 8})
    loaded, _ = checkpoints.load(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    clip = torch.randn(1, 2, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clip), model(clip), rtol=0, atol=0)


def test_config_is_json_and_builds_the_same():
    options = {"head_pool_kernel_sizes": [[8, 7, 7], [32, 7, 7]], "dropout_rate": 0.1}
    with torch.device("meta"):
        model = models.pytorchvideo("slowfast_r50", num_classes=3, in_channels=2, **options)
        again = build(json.loads(json.dumps(model.config)))
    assert again.config == model.config
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: value.shape for key, value in again.state_dict().items()} == shapes


def test_published_weights_come_by_the_librarys_own_option(monkeypatch):
    import pytorchvideo.models.hub.resnet as library

    weights = original("slow_r50").state_dict()
    monkeypatch.setattr(library, "load_state_dict_from_url", lambda *args, **kwargs: {"model_state": weights})
    model = models.pytorchvideo("slow_r50", pretrained=True)
    assert all(torch.equal(model.network.state_dict()[key], value) for key, value in weights.items())
    assert "pretrained" not in model.config


def test_mvit_is_asked_for_its_weights_alone(monkeypatch):
    from pytorchvideo.models import hub

    network, calls = hub.mvit_base_16x4(**OPTIONS["mvit_base_16x4"]), []
    monkeypatch.setattr(hub, "mvit_base_16x4", lambda **kwargs: calls.append(kwargs) or network)
    models.pytorchvideo("mvit_base_16x4", pretrained=True)
    models.pytorchvideo("mvit_base_16x4", num_classes=400)
    assert calls == [{"pretrained": True}, {"head_num_classes": 400, "input_channels": 3}]
