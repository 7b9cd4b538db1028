"""Sizes and costs: against torchvision's own figures, and the committed table against the networks."""

import json

import pytest
import torch
from torch import nn

from benchmarks import record
from benchmarks.speed import networks as networks_table
from kdvideo import models


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t"])
def test_summary_is_torchvisions(name):
    from torchvision.models import get_model_weights

    published = get_model_weights(name).DEFAULT.meta
    with torch.device("meta"):
        model = models.torchvision(name)
    counted = models.summary(model)
    spec = model.input_spec
    assert counted["input"] == (3, spec.frames, spec.size, spec.size)
    assert counted["parameters"] == published["num_params"]
    # torchvision counted S3D and Swin on 16 frames
    frames = 16 if name in ("s3d", "swin3d_t") else spec.frames
    assert counted["multiply_adds"] / 1e9 * frames / spec.frames == pytest.approx(published["_ops"], abs=6e-4)


def test_summary_of_a_small_network_counts_its_own_channels():
    model = models.s3dg(5, in_channels=2, depth_multiplier=0.125, min_depth=8)
    wide = models.s3dg(5, depth_multiplier=0.125, min_depth=8)
    assert models.summary(model)["input"] == (2, 64, 224, 224)
    assert models.summary(model)["parameters"] == models.summary(wide)["parameters"] - 8 * 3 * 7 * 7
    assert next(model.parameters()).device.type == "cpu"


@pytest.fixture(scope="module")
def committed():
    return json.loads((record.FOLDER / "networks.json").read_text())


@pytest.mark.parametrize(
    "name",
    [
        "S3D-G",
        "S3D-G, flow",
        "NL S3D-G",
        "S3D",
        "I3D",
        "pytorchvideo slow_r50_detection",
        "pytorchvideo x3d_s",
        "torchvision r3d_18",
        "timm resnet50",
    ],
)
def test_the_committed_table_holds(committed, name):
    assert committed["rows"][name] == networks_table.measure(name), f"run {networks_table.COMMAND}"


def test_the_committed_table_is_complete_and_rendered(committed):
    assert list(committed["rows"]) == list(networks_table.rows())
    table = networks_table.markdown(committed, networks_table.clips_per_second())
    assert table == (record.FOLDER / "networks.md").read_text(), f"run {networks_table.COMMAND}"


def test_speeds_are_joined_by_row(committed):
    rates = {"I3D": {"clips_per_s": {"median": 12.34}}, "S3D-G": {"clips_per_s": None}}
    about = {"hardware": "a GPU", "threads": 2, "versions": {}, "date": "today", "command": "speed"}
    table = networks_table.markdown(committed, {"result": rates, "environment": about})
    ends = {row.split(" | ")[0].strip("| "): row.split(" | ")[-1] for row in table.splitlines() if row.startswith("| ")}
    assert (ends["I3D"], ends["S3D"], ends["S3D-G"]) == ("12.3 |", "not run |", "not run |")
    assert "a GPU" in table
    assert "a GPU" not in networks_table.markdown(committed, {})


def test_the_summary_of_what_is_no_network_is_refused():
    """Fails when the model is not looked at: an AttributeError names nothing that a user wrote."""
    with pytest.raises(ValueError, match=r"one of kdvideo.models, got a Linear: multiply_adds\(model, clip\)"):
        models.summary(nn.Linear(3, 2))
