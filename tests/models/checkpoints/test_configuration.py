"""Networks rebuilt from the shapes of their weights."""

import pytest
import torch

from kdvideo import models
from kdvideo.models.build import build as rebuild
from kdvideo.models.checkpoints.configuration import configuration, depth
from tests.models.checkpoints.reference import SMALL


def read_off(model):
    state = model.state_dict()
    return configuration(lambda key: state[key].shape if key in state else None)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (models.s3dg, {}),
        (models.s3dg, {"in_channels": 2, "first_temporal_kernel": 7, "temporal_from": "4B", "gates_from": None}),
        (models.s3dg, {"temporal_from": None, "gates_from": "5C", "non_local": ("4C", "5B"), **SMALL}),
        (models.i3d, {"in_channels": 2, "depth_multiplier": 0.5}),
        (models.i3d, {"bn_scale": True, "depth_multiplier": 1.5}),
        (models.s3d, {"depth_multiplier": 0.7}),
        (models.s3d, {"depth_multiplier": 0.01, "min_depth": 3}),
    ],
)
def test_everything_but_dropout_and_input(build, options):
    with torch.device("meta"):
        model = build(13, **options)
    found = read_off(model)
    assert found.items() <= {**model.config, "depth_multiplier": found["depth_multiplier"]}.items()
    assert found["depth_multiplier"] == options.get("depth_multiplier", 1.0) or options.get("min_depth") == 3
    assert len(found) >= 5
    with torch.device("meta"):
        again = rebuild(found)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    assert shapes == {key: value.shape for key, value in again.state_dict().items()}


def test_widths_of_no_multiplier():
    with pytest.raises(ValueError, match=r"one depth multiplier, got \[\(64, 64\), \(96, 100\), \(192, 192\)\]"):
        depth({(64, 64), (192, 192), (96, 100)})


def test_missing_weights_do_not_stop_it():
    with torch.device("meta"):
        state = models.s3dg(5).state_dict()
    state = {key: value for key, value in state.items() if not key.startswith(("mixed_4c", "head"))}
    found = configuration(lambda key: state[key].shape if key in state else None)
    assert (found["num_classes"], found["depth_multiplier"]) == (400, 1.0)


def test_a_first_layer_of_another_rank():
    with pytest.raises(ValueError, match=r"a 3-D convolution, got a kernel of shape \(8, 3\)"):
        configuration({"conv_1a.conv.weight": torch.Size((8, 3))}.get)
