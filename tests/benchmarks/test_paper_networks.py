"""Networks as the start of a training: those of others in the range of their file."""

from pathlib import Path

import pytest
import torch

from benchmarks.paper import trained_networks
from benchmarks.paper.methods import RGB
from examples.d3d import config as settings
from kdvideo import models
from tests.examples.tiny import CLASSES, config, lively_network


@pytest.fixture
def setup(clips: Path, tmp_path: Path) -> settings.Config:
    return config(clips, tmp_path, "--network.depth-multiplier", "0.125")


@pytest.fixture(scope="module")
def lively() -> models.Inception3D:
    return lively_network()


def write(path: Path, network: models.Network, **said: object) -> Path:
    models.checkpoints.save(network, path, classes=list(CLASSES), input_spec=said)
    return path


def started(setup: settings.Config, weights: Path) -> models.Network:
    return trained_networks.start(RGB, setup, len(CLASSES), 0, weights=trained_networks.given(weights)).eval()


@torch.no_grad()
@pytest.mark.parametrize("seen", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_a_start_in_another_range_sees_the_same(setup, lively, tmp_path: Path, seen: tuple[float, float]) -> None:
    found = started(setup, write(tmp_path / "other.safetensors", lively, range=seen))
    clip = torch.rand(1, 3, 16, 40, 40) * 2 - 1
    wanted = lively.conv_1a(seen[0] + (clip + 1) / 2 * (seen[1] - seen[0]))[..., 1:-1, 3:-3, 3:-3]
    torch.testing.assert_close(found.conv_1a(clip)[..., 1:-1, 3:-3, 3:-3], wanted, rtol=1e-4, atol=1e-4 * seen[1])
    assert found.input_spec.value_range == (-1.0, 1.0)
    others = {name for name, value in lively.state_dict().items() if not value.equal(found.state_dict()[name])}
    moved = set() if seen == (-1.0, 1.0) else {"conv_1a.conv.weight", "conv_1a.bn.running_mean"}
    assert others == moved | {"head.proj.weight"}


def test_what_cannot_start_a_training_says_why(setup: settings.Config, tmp_path: Path) -> None:
    small = {"depth_multiplier": 0.125}
    wrong = {
        r"got architecture i3d, not s3dg$": models.i3d(2, **small),
        r"got in_channels 2, not 3$": models.s3dg(2, in_channels=2, **small),
        r"got first_temporal_kernel 7, not 3; non_local \['4C'\], not \[\]$": models.s3dg(
            2, first_temporal_kernel=7, non_local=("4C",), **small
        ),
    }
    for message, network in wrong.items():
        with pytest.raises(ValueError, match=rf"other.safetensors must .* to start it, {message}"):
            started(setup, write(tmp_path / "other.safetensors", network))
    normalized = {"mean": [0.4] * 3, "std": [0.2] * 3}
    with pytest.raises(ValueError, match="normalized by mean and std"):
        started(setup, write(tmp_path / "other.safetensors", models.s3dg(2, **small), **normalized))


def test_the_network_that_starts_another_stays_as_it_is(setup, lively, tmp_path: Path) -> None:
    given = trained_networks.given(write(tmp_path / "other.safetensors", lively, range=(0.0, 1.0)))
    before = {name: value.clone() for name, value in given.network.state_dict().items()}
    trained_networks.start(RGB, setup, len(CLASSES), 0, weights=given)
    assert all(value.equal(before[name]) for name, value in given.network.state_dict().items())
