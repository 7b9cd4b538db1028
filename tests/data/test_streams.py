"""Streams beside RGB and flow: of the same frames, cut and mirrored alike."""

from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from kdvideo.data import (
    ArrayStream,
    AudioSpectrogram,
    ClipError,
    FrameDifference,
    MultiView,
    PairedClips,
    from_folder,
    multi_crop,
)
from kdvideo.data.clips.sound import mel_filters
from tests.data.videos import gradient, write_video

FPS, LENGTH, RATE = 10, 14, 8000
SIZE: dict[str, Any] = {"frames": 6, "fps": FPS, "short_side": 48, "crop": 40}


def write_sounding(path: Path, sound: np.ndarray) -> None:
    """Write 14 grey frames, brighter in every one, and a sound."""
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "1"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv444p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for number in range(LENGTH):
            image = np.full((48, 64, 3), 20 + 10 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(video.encode())
        frame = av.AudioFrame.from_ndarray((sound * 32000).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE
        container.mux(audio.encode(frame))
        container.mux(audio.encode())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    (folder / "a").mkdir()
    images = [gradient().numpy() for _ in range(LENGTH)]
    for number, image in enumerate(images):
        image[32:] = 20 + 10 * number
    write_video(folder / "a" / "0.mp4", images, pix_fmt="yuv444p", options={"crf": "1"})
    return folder


@pytest.fixture(scope="module")
def arrays(root: Path) -> Path:
    """Depth that says the place, x in one channel and the frame's number in another; and a point that moves."""
    folder = root.parent / f"{root.name}_arrays"
    (folder / "a").mkdir(parents=True)
    x = np.broadcast_to(np.arange(64, dtype=np.float32), (LENGTH, 48, 64))
    number = np.broadcast_to(np.arange(LENGTH, dtype=np.float32)[:, None, None], (LENGTH, 48, 64))
    np.save(folder / "a" / "0.mp4.npy", np.stack([x, number], 1))
    (folder / "joints" / "a").mkdir(parents=True)
    np.save(folder / "joints" / "a" / "0.mp4.npy", np.stack([np.arange(LENGTH), np.ones(LENGTH)], 1)[:, None])
    return folder


def mirrored(joints: Tensor) -> Tensor:
    return joints * torch.tensor([1.0, -1.0])


@pytest.mark.parametrize("in_memory", [False, True])
def test_all_streams_show_the_same_frames_of_the_same_place(root: Path, arrays: Path, in_memory: bool) -> None:
    """Fails when a stream is not cut at the window's place, not mirrored, or begins at the clip's first frame."""
    streams = {
        "depth": ArrayStream(arrays, fps=FPS, spatial=True),
        "joints": ArrayStream(arrays / "joints", fps=FPS, mirror=mirrored),
        "change": FrameDifference(),
    }
    clips = PairedClips(
        from_folder(root), train=True, streams=streams, input_range=(0, 255), in_memory=in_memory, **SIZE
    )
    flips = set()
    for epoch in range(12):
        item = clips[epoch, 0]
        red = item["rgb"][0, 0, :8].mean(0)
        flipped = bool(red[0] > red[-1])
        flips.add(flipped)
        x, number = item["depth"]
        assert item["depth"].shape == (2, 6, 40, 40)
        assert bool(x[0, 0, 0] > x[0, 0, -1]) is flipped
        scale = (gradient()[0, -1, 0] - gradient()[0, 0, 0]).float() / 63
        torch.testing.assert_close(red, gradient()[0, 0, 0] + x[0, 0] * scale, atol=6, rtol=0)
        assert item["joints"][:, 0, 0].tolist() == number[:, 0, 0].tolist()
        assert set(item["joints"][:, 0, 1].tolist()) == {-1.0 if flipped else 1.0}
        low = item["rgb"][:, :, -3:].mean((0, 2, 3))
        torch.testing.assert_close(low, 20 + 10 * number[:, 0, 0], atol=2, rtol=0)
        assert item["change"].shape == (3, 6, 40, 40)
    assert flips == {True, False}


def test_a_difference_is_the_next_frame_less_this_one(root: Path) -> None:
    clips = PairedClips(
        from_folder(root), train=False, streams={"change": FrameDifference()}, **SIZE | {"frames": LENGTH, "crop": 48}
    )
    change = clips[0]["change"][:, :, 40:].mean((0, 2, 3)) * 255
    torch.testing.assert_close(change, torch.full((LENGTH,), 10.0), atol=1.5, rtol=0)


def test_all_views_of_a_clip_have_its_streams(root: Path, arrays: Path) -> None:
    """Fails when `MultiView` leaves them out, or gives every view those of the first."""
    streams = {
        "depth": ArrayStream(arrays, fps=FPS, spatial=True),
        "joints": ArrayStream(arrays / "joints", fps=FPS, mirror=mirrored),
    }
    clips = PairedClips(from_folder(root), train=False, streams=streams, **SIZE)
    item = MultiView(clips, partial(multi_crop, clips=3, crops=2))[0]
    assert item["depth"].shape == (6, 2, 6, 40, 40)
    assert item["joints"].shape == (6, 6, 1, 2)
    assert item["depth"][:, 1, 0, 0, 0].tolist() == item["joints"][:, 0, 0, 0].tolist() == [0, 0, 4, 4, 8, 8]
    assert item["depth"][:, 0, 0, 0, 0].tolist() == [0, 24] * 3  # the left edges of the crops


def test_streams_alone_need_no_rgb(root: Path, arrays: Path) -> None:
    streams = {"depth": ArrayStream(arrays, fps=FPS, spatial=True)}
    item = PairedClips(from_folder(root), train=False, rgb=False, streams=streams, **SIZE)[0]
    assert set(item) == {"depth", "label", "index", "clip", "view"}


class Short:
    """Gives one row too few."""

    spatial = False

    def read(self, source: Any, frames: range) -> Tensor:
        return torch.zeros(len(frames) - 1, 3)

    def mirrored(self, values: Tensor) -> Tensor:
        return values


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda arrays: ArrayStream(arrays, fps=30, spatial=True), ValueError, r"30 fps, got 10"),
        (
            lambda arrays: ArrayStream(arrays / "gone", fps=FPS),
            FileNotFoundError,
            r"'a/0\.mp4' in .*gone: no file \*\.npy",
        ),
        (
            lambda arrays: ArrayStream(arrays / "joints", fps=FPS, spatial=True),
            ValueError,
            r"48, 64\).*short side 48.*got",
        ),
        (lambda arrays: Short(), ValueError, r"'it' of clip 'a/0.mp4' must give 6 rows for frames 4 to 9, got 5"),
        (lambda arrays: AudioSpectrogram(), ClipError, "it has no audio track"),
    ],
)
def test_streams_that_do_not_fit_are_named(
    root: Path, arrays: Path, make: Any, error: type[Exception], message: str
) -> None:
    clips = PairedClips(from_folder(root), train=False, streams={"it": make(arrays)}, **SIZE)
    with pytest.raises(error, match=message):
        clips[0]


def test_an_array_of_another_length_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "0.mp4.npy", np.zeros((LENGTH - 1, 3)))
    clips = PairedClips(from_folder(root), train=False, streams={"it": ArrayStream(tmp_path, fps=FPS)}, **SIZE)
    with pytest.raises(ValueError, match=r"each of its 14 frames at 10 fps, got 13"):
        clips[0]


def test_an_array_of_another_id_is_refused_and_both_are_named(root: Path, tmp_path: Path) -> None:
    """Fails when the message names the missing file alone: ids without an extension are the usual slip."""
    clips = PairedClips(from_folder(root), train=False, streams={"it": ArrayStream(tmp_path, fps=FPS)}, **SIZE)
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "0.npy", np.zeros((LENGTH, 3)))
    with pytest.raises(
        FileNotFoundError, match=r"no array of clip 'a/0\.mp4' in .*: the closest ids there are \['a/0'\]"
    ):
        clips[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "No data"), (b"\x93NUMPY", "EOF"), (b"no array", "pickle")],
)
def test_a_damaged_array_is_named(root: Path, tmp_path: Path, content: bytes, message: str) -> None:
    """Fails when the error says neither which file it is, nor that it is damaged."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.mp4.npy").write_bytes(content)
    clips = PairedClips(from_folder(root), train=False, streams={"it": ArrayStream(tmp_path, fps=FPS)}, **SIZE)
    with pytest.raises(ValueError, match=rf"0\.mp4\.npy is not a readable array: .*{message}"):
        clips[0]


def test_names_that_items_have_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match=r"names of their own, got \['rgb'\]"):
        PairedClips(from_folder(root), train=True, streams={"rgb": FrameDifference()}, **SIZE)


def test_sound_is_heard_when_its_frame_is_shown(tmp_path: Path) -> None:
    """A tone that rises in steps at known times: the loudest band follows it, within half a window."""
    tones = [300, 800, 1600, 3000]
    time = np.arange(int(LENGTH / FPS * RATE)) / RATE
    part = (time / 0.35).astype(int).clip(max=3)
    (tmp_path / "a").mkdir()
    write_sounding(tmp_path / "a" / "clip.mkv", 0.5 * np.sin(2 * np.pi * np.array(tones)[part] * time))
    stream = AudioSpectrogram(bands=32, rate=RATE)
    clips = PairedClips(from_folder(tmp_path), train=False, streams={"sound": stream}, **SIZE | {"frames": LENGTH})
    sound = clips[0]["sound"]
    assert sound.shape == (LENGTH, 32)
    bins = torch.linspace(0, RATE / 2, 257)
    loudest = [float(bins[mel_filters(32, 257, RATE)[band].argmax()]) for band in sound.argmax(1)]
    for frame, heard in enumerate(loudest):
        at = frame / FPS
        if min(abs(at - edge) for edge in (0.35, 0.7, 1.05)) > 0.04:
            assert abs(heard / tones[min(int(at / 0.35), 3)] - 1) < 0.15


def test_the_bands_are_triangles_that_add_up_to_one_in_between() -> None:
    found = mel_filters(20, 513, 16000)
    between = slice(int(found[0].argmax()), int(found[-1].argmax()) + 1)
    torch.testing.assert_close(found.sum(0)[between], torch.ones(between.stop - between.start))
    assert (found >= 0).all()
