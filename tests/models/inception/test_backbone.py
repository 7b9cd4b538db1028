"""Parameter counts, multiply-adds and layer names of S3D-G and I3D."""

import pytest
import torch
from torch import nn

from kdvideo import models
from kdvideo.models.inception.backbone import ORDER


def trainable(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("build", "kwargs", "count"),
    [
        (models.s3dg, {}, 9_518_848),
        (models.s3dg, {"num_classes": 600}, 9_723_848),
        (models.s3dg, {"in_channels": 2}, 9_509_440),
        (models.i3d, {}, 12_689_984),
        (models.i3d, {"in_channels": 2}, 12_668_032),
        (models.i3d, {"num_classes": 600}, 12_894_984),
        (models.i3d, {"bn_scale": True}, 12_697_264),
        (models.i3d, {"bn_scale": True, "in_channels": 2}, 12_675_312),
    ],
)
def test_trainable_parameters(build, kwargs, count):
    with torch.device("meta"):
        assert trainable(build(**kwargs)) == count


def test_s3dg_variables_and_gates():
    with torch.device("meta"):
        model = models.s3dg()
    statistics = sum(b.numel() for n, b in model.named_buffers() if not n.endswith("num_batches_tracked"))
    assert trainable(model) + statistics == 9_533_408
    assert sum(name.endswith(".gate") for name, _ in model.named_modules()) == 37


@pytest.mark.parametrize(
    ("build", "channels", "giga"), [(models.s3dg, 3, 64.2), (models.i3d, 3, 111.2), (models.i3d, 2, 102.3)]
)
def test_multiply_adds(build, channels, giga):
    with torch.device("meta"):
        model, clip = build(in_channels=channels), torch.empty(1, channels, 64, 224, 224)
    assert round(models.multiply_adds(model, clip) / 1e9, 1) == giga


TABLE = {  # the paper's name: (T, H, W, C) at 64 x 224 x 224
    "1A": (32, 112, 112, 64),
    "2A": (32, 56, 56, 64),
    "2B": (32, 56, 56, 64),
    "2C": (32, 56, 56, 192),
    "3A": (32, 28, 28, 192),
    "3B": (32, 28, 28, 256),
    "3C": (32, 28, 28, 480),
    "4A": (16, 14, 14, 480),
    "4B": (16, 14, 14, 512),
    "4C": (16, 14, 14, 512),
    "4D": (16, 14, 14, 512),
    "4E": (16, 14, 14, 528),
    "4F": (16, 14, 14, 832),
    "5A": (8, 7, 7, 832),
    "5B": (8, 7, 7, 832),
    "5C": (8, 7, 7, 1024),
}


@pytest.mark.parametrize("build", [models.s3dg, models.i3d])
def test_layer_names_and_shapes(build):
    with torch.device("meta"):
        model, clip = build(), torch.empty(1, 3, 64, 224, 224)
    assert tuple(model.layer_names) == ORDER
    shapes = {}
    for name, path in model.layer_names.items():
        model.get_submodule(path).register_forward_hook(lambda _, __, out, name=name: shapes.update({name: out.shape}))
    assert model(clip).shape == (1, 400)
    assert {name: (t, h, w, c) for name, (_, c, t, h, w) in shapes.items()} == TABLE
