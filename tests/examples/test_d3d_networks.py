"""Networks of others in the recipe: fed as their files say; and what a file must fit."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.paper import predicted_flow
from examples.d3d import evaluate, networks
from examples.d3d.config import Config, Input
from examples.d3d.data import Clips, open_clips
from examples.d3d.training import make_accelerator
from kdvideo import data, models
from tests.examples.tiny import CLASSES, config, inside, lively_network


@pytest.fixture
def opened(clips: Path, tmp_path: Path) -> Clips:
    return open_clips(config(clips, tmp_path))


@pytest.fixture(scope="module")
def lively() -> models.Inception3D:
    return lively_network()


def write(path: Path, network: models.Network, **said: object) -> Path:
    models.checkpoints.save(network, path, classes=list(CLASSES), input_spec=said)
    return path


@torch.no_grad()
@pytest.mark.parametrize(
    "said", [{"range": [0.0, 1.0]}, {"range": [0.0, 1.0], "mean": [0.4] * 3, "std": [0.2] * 3}, {}]
)
def test_a_network_is_scored_on_what_its_file_says_it_sees(clips, lively, tmp_path: Path, said: dict) -> None:
    setup = config(clips, tmp_path)
    opened = open_clips(setup)
    network, stream = networks.load(write(tmp_path / "other.safetensors", lively, **said), opened)
    found = evaluate.scores(network, stream, opened, setup, make_accelerator(setup))
    clip = torch.stack([data.to_float(item)["rgb"] for item in opened.views(opened.test, train=False)])
    fed = (clip + 1) / 2 if said else clip
    if "mean" in said:
        fed = (fed - 0.4) / 0.2
    torch.testing.assert_close(found.float(), lively(fed).softmax(1), rtol=1e-4, atol=1e-5)
    assert not said or not torch.allclose(found.float(), lively(clip).softmax(1), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(("most", "seen"), [(8, slice(1, 9)), (250, slice(0, 10))])
def test_a_clip_is_tested_whole_as_published(clips, lively, tmp_path: Path, most: int, seen: slice) -> None:
    setup = config(clips, tmp_path, "--input.test-frames", str(most))
    opened = open_clips(setup)
    network, stream = networks.load(write(tmp_path / "other.safetensors", lively, range=[-1.0, 1.0]), opened)
    found = evaluate.scores(network, stream, opened, setup, make_accelerator(setup))
    size = {"fps": 12.5, "short_side": 36, "crop": 32}
    whole = data.PairedClips(opened.test, frames=10, train=False, **size)  # 20 frames at 25 fps
    clip = torch.stack([item["rgb"][:, seen] for item in whole])
    torch.testing.assert_close(found.float(), lively(clip).softmax(1), rtol=1e-4, atol=1e-5)


def test_a_test_on_fewer_frames_than_the_training_is_refused() -> None:
    with pytest.raises(ValueError, match=r"test-frames must be 0 or at least the 64 frames of the training, got 5"):
        Config(input=Input(test_frames=5))


def test_scores_are_means_over_the_views_of_a_clip() -> None:
    rows = [(1, [0.5, 0.5]), (0, [1.0, 0.0]), (1, [0.25, 0.75]), (0, [0.5, 0.5])]
    assert evaluate.mean_by_clip(rows).tolist() == [[0.75, 0.25], [0.375, 0.625]]


def test_files_that_say_little_are_evaluated_or_named(clips: Path, lively, tmp_path: Path, capsys) -> None:
    inside(evaluate.main, clips, tmp_path, "--weights", str(write(tmp_path / "silent.safetensors", lively)))
    assert "on 4 clips" in capsys.readouterr().out
    torch.save(lively.state_dict(), tmp_path / "bare.pt")
    with pytest.raises(SystemExit, match=r"^error: .*bare.pt must name its classes.*convert --classes"):
        inside(evaluate.main, clips, tmp_path, "--weights", str(tmp_path / "bare.pt"))
    write(tmp_path / "wide.safetensors", models.s3dg(2, in_channels=4, depth_multiplier=0.125))
    with pytest.raises(SystemExit, match="got 4"):
        inside(evaluate.main, clips, tmp_path, "--weights", str(tmp_path / "wide.safetensors"))
    with pytest.raises(SystemExit, match="--weights must name the network"):
        inside(evaluate.main, clips, tmp_path)


def test_a_network_without_logits_is_named(clips: Path, tmp_path: Path) -> None:
    predictor = predicted_flow.FlowPredictor(models.s3dg(2, depth_multiplier=0.125))
    with pytest.raises(SystemExit, match=r"^error: .*flow_predictor"):
        inside(evaluate.main, clips, tmp_path, "--weights", str(write(tmp_path / "p.safetensors", predictor)))


@pytest.mark.parametrize(("channels", "stream"), [(2, "flow"), (3, "rgb")])
def test_a_file_that_does_not_say_its_stream_is_known_by_its_channels(tmp_path: Path, channels, stream) -> None:
    path = write(tmp_path / "n.safetensors", models.s3dg(2, in_channels=channels, depth_multiplier=0.125))
    assert networks.stream_of(*models.checkpoints.load(path)) == stream


def test_a_network_of_another_stream_or_of_other_classes_is_refused(opened: Clips, tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    networks.save(models.s3dg(2, in_channels=2, depth_multiplier=0.125), path, opened, "flow")
    assert networks.load(path, opened)[1] == networks.load(path, opened, stream="flow")[1] == "flow"
    with pytest.raises(ValueError, match=r"n.safetensors must see rgb, got a network for flow"):
        networks.load(path, opened, stream="rgb")
    network = models.s3dg(2, depth_multiplier=0.125)
    networks.save(network, path, opened, "rgb")
    with pytest.raises(ValueError, match=r"must have been trained on this run's flow, got stream rgb, not flow"):
        networks.load(path, opened, stream="flow")
    models.checkpoints.save(network, path, classes=["a", "b"], input_spec=opened.seen("rgb"))
    said = re.escape("classes of the clips, ['horizontal', 'spin'], got ['a', 'b']")
    with pytest.raises(ValueError, match=said):
        networks.load(path, opened)


@pytest.mark.parametrize("broken", [lambda data: data[:500], lambda data: b"nothing"])
def test_a_broken_file_is_named(opened: Clips, tmp_path: Path, broken: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "whole.safetensors"
    networks.save(models.s3dg(2, depth_multiplier=0.125), path, opened, "rgb")
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(ValueError, match=r"whole\.safetensors"):
        networks.load(path, opened)
