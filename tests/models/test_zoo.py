"""The adapter for pytorchvideo's backbones: logits, one tensor in, layers by path."""

import pytest
import torch
from torch import nn

from kdvideo import models
from kdvideo.models import checkpoints
from kdvideo.models.zoo import BACKBONES, pathways

REQUIRED = ["slow_r50", "i3d_r50", "r2plus1d_r50", "csn_r101", "x3d_s", "slowfast_r50", "mvit_base_16x4"]
SMALL = {"mvit_base_16x4": {"spatial_size": 32, "temporal_size": 8}}


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_shapes_at_the_published_size(name, channels):
    with torch.device("cpu" if name.startswith("mvit") else "meta"):  # MViT's builder reads a tensor's values
        model = models.pytorchvideo(name, num_classes=7, in_channels=channels).eval().to("meta")
    clip = torch.empty(2, channels, model.input_spec.frames, model.input_spec.size, model.input_spec.size, device="meta")
    assert model(clip).shape == (2, 7)
    for path in model.layer_names.values():
        model.get_submodule(path)


@pytest.mark.parametrize("name", REQUIRED)
def test_small_clip_gives_logits(name):
    torch.manual_seed(0)
    model = models.pytorchvideo(name, num_classes=5, **SMALL.get(name, {})).eval()
    clip = torch.randn(2, 3, 8, 32, 32)
    heads = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == 5]
    nn.init.constant_(heads[-1].bias, 3.0)
    before = clip.clone()
    with torch.no_grad():
        logits = model(clip)
    assert logits.shape == (2, 5)
    assert logits.mean() > 1.5, "a softmax or sigmoid would give at most 1"
    assert torch.equal(clip, before)


def original(name, **kwargs):
    from pytorchvideo.models import hub

    return getattr(hub, name)(pretrained=False, **kwargs).eval()


def test_published_size_and_larger_equal_the_original():
    torch.manual_seed(0)
    inner = original("x3d_xs", model_num_class=5, head_activation=None)
    model = models.pytorchvideo("x3d_xs", num_classes=5).eval()
    model.network.load_state_dict(inner.state_dict())
    for size in (160, 192):
        clip = torch.randn(1, 3, 4, size, size)
        with torch.no_grad():
            torch.testing.assert_close(model(clip), inner(clip))


@pytest.fixture(scope="module")
def slowfast():
    torch.manual_seed(0)
    return models.pytorchvideo("slowfast_r50", num_classes=5).eval()


def test_slowfast_equals_the_original(slowfast):
    inner = original("slowfast_r50", model_num_class=5, head_pool_kernel_sizes=((2, 1, 1), (8, 1, 1)))
    inner.load_state_dict(slowfast.network.state_dict())
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(slowfast(clip), inner([clip[:, :, [0, 7]], clip]))


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


def test_pathways_are_pytorchvideos():
    clip = torch.arange(32.0).reshape(1, 1, 32, 1, 1)
    slow, fast = pathways(clip)
    assert slow.flatten().tolist() == torch.linspace(0, 31, 8).long().tolist()
    assert fast is clip


def test_layer_names(slowfast):
    assert list(slowfast.layer_names) == ["stem", "res2", "res3", "res4", "res5", "head"]
    with torch.device("meta"):
        model = models.pytorchvideo("i3d_r50")  # it has a pool between res2 and res3
    assert model.layer_names["res3"] == "network.blocks.3"


@pytest.mark.parametrize(
    ("shape", "words"),
    [((1, 3, 10, 32, 32), "multiple of 4"), ((1, 2, 8, 32, 32), "flow 2"), ((1, 3, 8, 16, 32), "Loop or resize")],
)
def test_bad_input(slowfast, shape, words):
    with pytest.raises(ValueError, match=words):
        slowfast(torch.zeros(*shape))


def test_mvit_takes_one_size():
    model = models.pytorchvideo("mvit_base_16x4", **SMALL["mvit_base_16x4"])
    for shape in ((8, 64, 64), (16, 32, 32), (4, 32, 32)):
        with pytest.raises(ValueError, match=r"\(8, 32, 32\)"):
            model(torch.empty(1, 3, *shape))


def test_unknown_name_lists_the_closest():
    with pytest.raises(ValueError, match=r"'slowfast_50'; closest: \['slowfast_r50'"):
        models.pytorchvideo("slowfast_50")


@pytest.mark.parametrize("name", ["mvit_base_16x4", "x3d_s"])
def test_file_round_trip(name, tmp_path):
    model = models.pytorchvideo(name, num_classes=2, **SMALL.get(name, {})).eval()
    checkpoints.save(model, tmp_path / "m.safetensors", classes=["a", "b"], input={"frames": 8})
    loaded, _ = checkpoints.load(tmp_path / "m.safetensors")
    assert loaded.config == model.config
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(clip), model(clip), rtol=0, atol=0)
