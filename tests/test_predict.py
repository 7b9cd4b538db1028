"""Predictions with weights that others published: the clip is made as their `input_spec` says."""

import re

import pytest
import torch

from kdvideo import models, predict
from kdvideo.cli import main
from kdvideo.models.inception import backbone as inception
from tests.data.videos import write_video


@pytest.fixture
def seen(monkeypatch):
    """The clips that networks are called with."""
    clips = []
    original = inception.Inception3D.forward
    monkeypatch.setattr(inception.Inception3D, "forward", lambda self, x: clips.append(x) or original(self, x))
    return clips


@pytest.mark.parametrize(("build", "channels"), [(models.i3d, 3), (models.s3d, 3), (models.s3dg, 2)])
def test_bare_weights_see_what_their_spec_says(tmp_path, seen, build, channels):
    torch.manual_seed(0)
    network = build(3, in_channels=channels, depth_multiplier=0.125, min_depth=8)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    write_video(tmp_path / "clip.mp4")
    classes = predict.predict(tmp_path / "weights.pt", tmp_path / "clip.mp4")
    assert sorted(name for name, _ in classes) == ["0", "1", "2"]
    assert sum(p for _, p in classes) == pytest.approx(1, abs=1e-5)
    spec = network.input_spec
    assert seen[0].shape == (1, channels, spec.frames, spec.size, spec.size)
    low, high = spec.value_range
    if spec.mean:
        low, high = (low - max(spec.mean)) / min(spec.std), (high - min(spec.mean)) / min(spec.std)
        assert seen[0].min() < 0, "torchvision's mean is taken off"
    assert low <= seen[0].min() <= seen[0].max() <= high
    if build is models.i3d:
        assert seen[0].min() < 0


def test_a_network_of_other_channels_is_refused(tmp_path):
    torch.save(models.i3d(3, in_channels=4, depth_multiplier=0.125).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"must see 3 .* got 4"):
        predict.predict(tmp_path / "weights.pt", tmp_path / "clip.mp4")


def test_a_network_that_kdvideo_does_not_build_is_named(tmp_path, capsys):
    network = models.s3dg(2, depth_multiplier=0.125)
    network.config = {**network.config, "architecture": "my_own"}
    models.checkpoints.save(network, tmp_path / "a", classes=["a", "b"], input_spec={"stream": "rgb"})
    assert main(["predict", "--weights", str(tmp_path / "a"), "clip.mp4"]) == 1
    assert re.match(r"error: .*a: .*got 'my_own': .*checkpoints.load\(path, model=...\)", capsys.readouterr().err)


def test_an_incomplete_input_is_named(tmp_path):
    network = models.i3d(2, depth_multiplier=0.125, min_depth=8)
    models.checkpoints.save(network, tmp_path / "a", classes=["a", "b"], input_spec={"stream": "rgb", "fps": 25})
    with pytest.raises(ValueError, match=r"lacks \['crop', 'flow_bound', 'frames', 'short_side'\]"):
        predict.predict(tmp_path / "a", tmp_path / "clip.mp4")


def test_views_below_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="views must be at least 1, got 0"):
        predict.predict(tmp_path / "weights.pt", tmp_path / "clip.mp4", views=0)
