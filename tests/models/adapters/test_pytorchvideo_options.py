"""Options of pytorchvideo's builders: they work, or the error says why not."""

import inspect
import re

import pytest
import torch

from kdvideo import models

FIXED = [
    ("slow_r50", {"model_depth": 101}, "model_depth must be left out, got 101: 'slow_r50' fixes it"),
    ("csn_r101", {"model_depth": 50}, "model_depth must be left out"),
    ("slowfast_r50", {"model_depth": 101}, "model_depth must be left out"),
    ("slowfast_r101", {"slowfast_fusion_conv_kernel_size": (7, 1, 1)}, "must be left out"),
    ("slow_r50", {"no_such": 1}, "no_such must be an argument of pytorchvideo's builder"),
    ("slow_r50", {"model_num_class": 3}, "must leave .'model_num_class'. to num_classes"),
    ("slow_r50", {"input_channel": 2}, "must leave .'input_channel'. to num_classes"),
    ("c2d_r50", {"model_depth": 7}, "do not fit 'c2d_r50': 7 is not in"),
    ("c2d_r50", {"head_pool_kernel_size": None}, "must have a kernel size"),
    ("mvit_base_16x4", {"norm": "x"}, "do not fit 'mvit_base_16x4'"),
]


@pytest.mark.parametrize(("name", "options", "words"), FIXED)
def test_errors(name, options, words):
    """Fails when the `except` in `_original`, or the look at its own names there, is taken away."""
    with torch.device("meta"), pytest.raises(ValueError, match=words):
        models.pytorchvideo(name, **options)


@pytest.mark.parametrize("name", ["c2d_r50", "i3d_r50", "r2plus1d_r50"])
def test_another_depth(name):
    with torch.device("meta"):
        plain, deep = (
            models.pytorchvideo(name, num_classes=5),
            models.pytorchvideo(name, num_classes=5, model_depth=101),
        )
        assert len(list(deep.parameters())) > 1.5 * len(list(plain.parameters()))
        assert deep.rebuild().config == deep.config
        assert deep(torch.empty(1, 3, 8, 64, 64)).shape == (1, 5)


@pytest.mark.parametrize("name", sorted(models.BACKBONES))
def test_whatever_the_hub_sets(name):
    """Every argument in the hub's source, given once more, works or is a `ValueError`."""
    from pytorchvideo.models import hub

    source = inspect.getsource(getattr(hub, name))
    for argument in sorted(set(re.findall(r"^\s+(\w+)=", source, re.MULTILINE)) - {"pretrained", "progress"}):
        with torch.device("meta"):
            try:
                models.pytorchvideo(name, **{argument: 3})
            except ValueError as error:
                assert argument in str(error) or name in str(error)  # noqa: PT017
            except RuntimeError as error:  # MViT's start computes with what it makes
                assert "meta" in str(error)  # noqa: PT017
