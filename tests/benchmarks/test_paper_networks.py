"""Networks of others in the recipe: fed as their files say, and as the start of a training."""

import dataclasses
from pathlib import Path

import pytest
import torch

from examples.d3d import clips as recipe_clips
from examples.d3d import config as settings
from examples.d3d import evaluate, networks, predicted_flow
from examples.d3d.runs import Run
from examples.d3d.train import make_accelerator
from kdvideo import models
from tests.examples.tiny import CLASSES, config, inside


@pytest.fixture
def setup(clips: Path, tmp_path: Path) -> settings.Config:
    return config(clips, tmp_path, "--network.depth-multiplier", "0.125")


@pytest.fixture(scope="module")
def lively() -> models.Inception3D:
    """A network whose scores differ from clip to clip."""
    torch.manual_seed(3)
    network = models.s3dg(len(CLASSES), depth_multiplier=0.125, dropout=0)
    networks._start_fast(network)
    torch.nn.init.normal_(network.get_parameter("head.proj.weight"), std=0.03)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.randn(4, 3, 8, 40, 40))
    return network.eval()


def write(path: Path, network: models.Network, **said: object) -> Path:
    models.checkpoints.save(network, path, classes=list(CLASSES), input=said)
    return path


def started(setup: settings.Config, weights: Path) -> models.Network:
    train, _ = recipe_clips.manifests(setup)
    one = dataclasses.replace(setup, init_from=weights)
    return networks.start(Run(one, make_accelerator(one), "rgb", 0, train), len(CLASSES)).eval()


@torch.no_grad()
@pytest.mark.parametrize("seen", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)])
def test_a_start_in_another_range_sees_the_same(setup, lively, tmp_path: Path, seen: tuple[float, float]) -> None:
    found = started(setup, write(tmp_path / "other.safetensors", lively, range=seen))
    clip = torch.rand(1, 3, 16, 40, 40) * 2 - 1
    wanted = lively.conv_1a(seen[0] + (clip + 1) / 2 * (seen[1] - seen[0]))[..., 1:-1, 3:-3, 3:-3]
    torch.testing.assert_close(found.conv_1a(clip)[..., 1:-1, 3:-3, 3:-3], wanted, rtol=1e-4, atol=1e-4 * seen[1])
    assert found.input_spec.range == (-1.0, 1.0)
    others = {name for name, value in lively.state_dict().items() if not value.equal(found.state_dict()[name])}
    moved = set() if seen == (-1.0, 1.0) else {"conv_1a.conv.weight", "conv_1a.bn.running_mean"}
    assert others == moved | {"head.proj.weight"}


def test_what_cannot_start_a_training_says_why(setup: settings.Config, tmp_path: Path) -> None:
    small = {"depth_multiplier": 0.125}
    wrong = {
        r"has architecture i3d, not s3dg$": models.i3d(2, **small),
        r"has in_channels 2, not 3$": models.s3dg(2, in_channels=2, **small),
        r"has first_temporal_kernel 7, not 3; non_local \['4C'\], not \[\]$": models.s3dg(
            2, first_temporal_kernel=7, non_local=("4C",), **small
        ),
    }
    for message, network in wrong.items():
        with pytest.raises(ValueError, match=rf"other.safetensors cannot start .*{message}"):
            started(setup, write(tmp_path / "other.safetensors", network))
    normalised = {"mean": [0.4] * 3, "std": [0.2] * 3}
    with pytest.raises(ValueError, match="normalised by mean and std"):
        started(setup, write(tmp_path / "other.safetensors", models.s3dg(2, **small), **normalised))


@torch.no_grad()
@pytest.mark.parametrize(
    "said", [{"range": [0.0, 1.0]}, {"range": [0.0, 1.0], "mean": [0.4] * 3, "std": [0.2] * 3}, {}]
)
def test_a_network_is_scored_on_what_its_file_says_it_sees(setup, lively, tmp_path: Path, said: dict) -> None:
    _, test = recipe_clips.manifests(setup)
    found = evaluate.weights_scores(
        write(tmp_path / "other.safetensors", lively, **said), setup, test, None, make_accelerator(setup)
    )
    clip = torch.stack([item["rgb"] for item in recipe_clips.views(setup, test, None, train=False)])
    fed = (clip + 1) / 2 if said else clip
    if "mean" in said:
        fed = (fed - 0.4) / 0.2
    torch.testing.assert_close(found.float(), lively(fed).softmax(1), rtol=1e-4, atol=1e-5)
    assert not said or not torch.allclose(found.float(), lively(clip).softmax(1), atol=1e-3)


def test_files_that_say_little_are_evaluated_or_named(clips: Path, lively, tmp_path: Path, capsys) -> None:
    inside(evaluate.main, clips, tmp_path, "--weights", str(write(tmp_path / "silent.safetensors", lively)))
    assert "on 4 clips" in capsys.readouterr().out
    torch.save(lively.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(SystemExit, match=r"^error: .*bare.pt does not name its classes.*convert --classes"):
        inside(evaluate.main, clips, tmp_path, "--weights", str(tmp_path / "bare.pt"))
    write(tmp_path / "wide.safetensors", models.s3dg(2, in_channels=4, depth_multiplier=0.125))
    with pytest.raises(SystemExit, match="sees 4 channels"):
        inside(evaluate.main, clips, tmp_path, "--weights", str(tmp_path / "wide.safetensors"))
    predictor = predicted_flow.FlowPredictor(models.s3dg(2, depth_multiplier=0.125))
    with pytest.raises(SystemExit, match="predicts flow, not actions"):
        inside(evaluate.main, clips, tmp_path, "--weights", str(write(tmp_path / "p.safetensors", predictor)))
    write(tmp_path / "flow.safetensors", models.s3dg(2, in_channels=2, depth_multiplier=0.125))
    assert networks.stream(*networks.load(tmp_path / "flow.safetensors")) == "flow"
