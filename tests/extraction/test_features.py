"""Features of whole videos: which frames each row shows, both streams, resumption, bad files."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from kdvideo import extraction, flow, models
from kdvideo.cli import main
from kdvideo.data import read_frames
from kdvideo.extraction import feature_job
from tests.data.videos import write_video

SIDE, WINDOW = 40, 8
VIEW = {"frames": WINDOW, "fps": 10.0, "short_side": SIDE, "crop": 32, "flow_bound": 20.0}


def weights(path, channels=3, **view):
    torch.manual_seed(channels)
    network = models.i3d(2, in_channels=channels, depth_multiplier=0.125, min_depth=8)
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight)
    stream = {"stream": "flow", "flow": flow.TVL1Estimator(flow.PRESETS["fast"]).fingerprint}
    spec = {**VIEW, **({"stream": "rgb"} if channels == 3 else stream), **view}
    models.checkpoints.save(network, path, classes=["run", "jump"], input_spec=spec)
    return path


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "videos/deep").mkdir(parents=True)
    write_video(tmp_path / "videos/long.mp4", 30)
    write_video(tmp_path / "videos/deep/short.mp4", 5)
    return tmp_path / "videos"


@torch.no_grad()
def pooled(path, frames, at):
    """What a row must be: the input of the head, averaged, of the frames at some positions."""
    network, _ = models.checkpoints.load(path)
    found = []
    network.head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    top, left = (frames.shape[2] - 32) // 2, (frames.shape[3] - 32) // 2
    clip = frames[at, :, top : top + 32, left : left + 32].transpose(0, 1)
    network(network.input_spec.prepare(clip)[None])
    return found[0].mean((0, 2, 3, 4)).numpy()


@pytest.mark.parametrize("few", [False, True])
def test_each_row_is_its_window(tmp_path, videos, few, monkeypatch):
    """Fails when a window begins elsewhere, when the last whole one is lost, or when pieces are joined wrongly."""
    if few:
        monkeypatch.setattr(feature_job, "FRAME_BYTES", 1)
    file = weights(tmp_path / "rgb.safetensors")
    result = extraction.extract_features(extraction.clips_of(videos), tmp_path / "out", file, stride=11)
    assert (result.done, result.failed) == (2, {})
    frames = read_frames(videos / "long.mp4", fps=10, short_side=SIDE)
    rows = np.load(tmp_path / "out/long.npy")
    expected = np.stack([pooled(file, frames, range(n, n + WINDOW)) for n in (0, 11, 22)])
    assert expected.std(0).max() > 1e-4
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    short = read_frames(videos / "deep/short.mp4", fps=10, short_side=SIDE)
    again = pooled(file, short, [0, 1, 2, 3, 4, 0, 1, 2])
    np.testing.assert_allclose(np.load(tmp_path / "out/deep/short.npy"), again[None], atol=1e-5)


def test_both_streams_one_after_the_other(tmp_path, videos):
    """Fails when the flow of a window is that of another one, or when the streams change places."""
    rgb, moving = weights(tmp_path / "rgb.safetensors"), weights(tmp_path / "flow.safetensors", channels=2)
    clips = extraction.clips_of(videos / "long.mp4")
    extraction.extract_features(clips, tmp_path / "both", rgb, flow_weights=moving)
    extraction.extract_features(clips, tmp_path / "rgb", rgb)
    extraction.extract_features(clips, tmp_path / "flow", moving)
    parts = [np.load(tmp_path / f"{name}/long.npy") for name in ("rgb", "flow")]
    np.testing.assert_array_equal(np.load(tmp_path / "both/long.npy"), np.concatenate(parts, 1))
    assert parts[1].std(0).max() > 0


def test_a_network_is_taken_as_its_file_is(tmp_path, videos):
    """Fails when a network in memory sees other clips than from its file, is changed, or cannot go to a process."""
    file, clips = weights(tmp_path / "rgb.safetensors"), extraction.clips_of(videos / "long.mp4")
    network, _ = models.checkpoints.load(file)
    network.input_spec = replace(network.input_spec, frames=WINDOW, size=35, fps=10.0)  # of 40 pixels
    network.train()
    extraction.extract_features(clips, tmp_path / "network", network, workers=1)
    assert network.training
    assert not any(module._forward_pre_hooks for module in network.modules())
    other = weights(tmp_path / "other.safetensors", crop=35)
    extraction.extract_features(clips, tmp_path / "file", other)
    rows, expected = (np.load(tmp_path / name / "long.npy") for name in ("network", "file"))
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    network.input_spec = replace(network.input_spec, value_range=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"weights is .* there, .* here"):
        extraction.extract_features(clips, tmp_path / "network", network)
    with pytest.raises(ValueError, match=r"must be a models.Network, got Linear: its config and input_spec say"):
        extraction.extract_features(clips, tmp_path / "linear", nn.Linear(3, 4))


def test_several_layers_and_ten_crops(tmp_path, videos):
    file = weights(tmp_path / "rgb.safetensors")
    options = {"layers": ["4F", "5C"], "stride": 30}
    extraction.extract_features(extraction.clips_of(videos), tmp_path / "one", file, **options)
    extraction.extract_features(extraction.clips_of(videos), tmp_path / "ten", file, ten_crop=True, **options)
    one, ten = (load_file(tmp_path / f"{name}/long.safetensors") for name in ("one", "ten"))
    assert {layer: tuple(value.shape) for layer, value in one.items()} == {"4F": (1, 104), "5C": (1, 128)}
    assert one["5C"].shape == ten["5C"].shape
    assert not torch.equal(one["5C"], ten["5C"])


def test_it_continues_and_lists_what_is_bad(tmp_path, videos, capsys):
    """Fails when files that exist are computed again, or when a bad one stops the others."""
    file = weights(tmp_path / "rgb.safetensors")
    (videos / "bad.mp4").write_bytes(b"no video")
    command = ["features", str(videos), str(tmp_path / "out"), "--weights", str(file)]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "2 clips done" in out
    assert "bad.mp4" in out
    before = os.stat(tmp_path / "out/long.npy").st_mtime_ns
    (tmp_path / "out/deep/short.npy").unlink()
    assert main(command) == 1
    assert (tmp_path / "out/deep/short.npy").exists()
    assert os.stat(tmp_path / "out/long.npy").st_mtime_ns == before
    assert main([*command, "--stride", "4"]) == 2
    assert "stride is 8 there, 4 here" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--weights", "--flow-weights"])
def test_weights_that_are_not_there_are_one_line(tmp_path, videos, capsys, flag):
    """Fails when the error of the file comes with a traceback."""
    file = weights(tmp_path / "rgb.safetensors")
    command = ["features", str(videos), str(tmp_path / "out"), "--weights", str(file), flag, str(tmp_path / "gone")]
    assert main(command) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'gone'}: no such file\n"
    assert not (tmp_path / "out").exists()


def test_a_repaired_video_is_tried_again_and_a_name_too_long_fails_alone(tmp_path, videos):
    """Fails when a mark does not say of which file it is, or a name too long for its mark reaches the disk."""
    file, bad = weights(tmp_path / "rgb.safetensors"), videos / "bad.mp4"
    bad.write_bytes(b"no video")
    write_video(videos / f"{'x' * 245}.mp4", 5)
    found = [extraction.extract_features(extraction.clips_of(videos), tmp_path / "out", file)]
    write_video(bad, 5)
    found.append(extraction.extract_features(extraction.clips_of(videos), tmp_path / "out", file))
    assert [(one.done, len(one.failed)) for one in found] == [(2, 2), (3, 1)]
    assert "its name is too long" in next(iter(found[1].failed.values()))


@pytest.mark.parametrize(
    ("view", "options", "message"),
    [
        ({"fps": 12.5}, {}, "both networks must see the same fps, got"),
        ({}, {"stride": 0}, "window and stride must be at least 1 frame, got 8 and 0"),
        ({}, {"layers": ["9Z"]}, "9Z"),
    ],
)
def test_wrong_values_are_named(tmp_path, videos, view, options, message):
    files = weights(tmp_path / "rgb.safetensors"), weights(tmp_path / "flow.safetensors", channels=2, **view)
    with pytest.raises(ValueError, match=message):
        extraction.extract_features([], tmp_path / "out", files[0], flow_weights=files[1], **options)
