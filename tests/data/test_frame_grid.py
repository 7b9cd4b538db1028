import os
import struct
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
import torch

from kdvideo.data import ClipInfo, probe, read_frames
from kdvideo.data.video import frame_grid as module
from tests.data.videos import gradient, hide, numbers, picture, write_video

FILES = {
    "h264 with B-frames": ("a.mp4", {"options": {"bf": "3", "g": "7"}}),
    "h264 with open groups": (
        "a.mp4",
        {"options": {"x264-params": "open-gop=1:keyint=8:bframes=3:scenecut=0"}},
    ),
    "hevc": ("a.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none:pools=none"}}),
    "10 bit": ("a.mp4", {"pix_fmt": "yuv420p10le"}),
    "times start late": ("a.mp4", {"stamps": [50 + i for i in range(20)]}),
    "two videos": ("a.mp4", {"streams": 2}),
    "fragmented": (
        "a.mp4",
        {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "options": {"g": "5"}},
    ),
    "mpeg4 in avi with B-frames": ("a.avi", {"codec": "mpeg4", "options": {"bf": "2", "g": "8"}}),
    "h264 in avi with B-frames": ("a.avi", {"options": {"bf": "2", "g": "8"}}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}}),
    "vp8": ("a.webm", {"codec": "libvpx", "options": {"cpu-used": "8", "deadline": "realtime"}}),
    "ffv1": ("a.mkv", {"codec": "ffv1"}),
    "transport stream": ("a.ts", {"options": {"g": "5"}}),
    "program stream": ("a.mpg", {"codec": "mpeg2video", "rate": 25, "fmt": "mpeg"}),
}


@pytest.mark.faults
@pytest.mark.reliability("B2")
@pytest.mark.parametrize("kind", FILES)
def test_every_frame_of_every_kind_of_file_whole_and_by_windows(kind, tmp_path):
    """Fails when `file_timeline` takes the times of AVI, which has none, for those of its frames."""
    name, options = FILES[kind]
    write_video(tmp_path / name, 20, **options)
    assert numbers(read_frames(tmp_path / name)) == list(range(20))
    assert probe(tmp_path / name) == ClipInfo(20, 48, 64)
    for first in (0, 6, 7, 8, 15, 19):  # before, on and after key frames
        window = range(first, min(first + 3, 20))
        assert numbers(read_frames(tmp_path / name, window=window)) == list(window)


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_hidden_frames_of_vp8_are_not_counted(tmp_path):
    """Fails when `_is_shown` takes every packet of VP8 for a frame that is shown."""
    write_video(tmp_path / "a.webm", 20, codec="libvpx", options={"cpu-used": "8", "deadline": "realtime"})
    hide(tmp_path / "a.webm", [7])
    shown = [k for k in range(20) if k != 7]
    assert numbers(read_frames(tmp_path / "a.webm")) == shown
    assert numbers(read_frames(tmp_path / "a.webm", window=range(6, 9))) == shown[6:9]
    assert probe(tmp_path / "a.webm").length == 19


@pytest.fixture
def clip(tmp_path):
    write_video(tmp_path / "a.mp4", 20, options={"g": "6", "bf": "2"})  # 10 fps
    return tmp_path / "a.mp4"


@pytest.mark.reliability("B3")
@pytest.mark.parametrize(("fps", "length"), [(10, 20), (5, 10), (25, 49), (3, 6), (100, 196), (0.5, 1)])
def test_grid_frames_are_the_nearest_in_time(clip, fps, length):
    """Fails when `_grid` takes the frame before a time, or after it, and not the nearest."""
    found = numbers(read_frames(clip, fps=fps))
    assert len(found) == length == probe(clip, fps=fps).length
    assert all(abs(number / 10 - k / fps) <= 0.05 + 1e-9 for k, number in enumerate(found))


@pytest.mark.reliability("B3", "B2")
@pytest.mark.parametrize("fps", [3, 25, 60])
@pytest.mark.parametrize("start", [0.0, 0.2])
def test_variable_frame_rate_is_sampled_by_time(tmp_path, fps, start):
    """Fails when `file_timeline` takes the frames as evenly spaced."""
    times = [0, 100, 130, 1530, 1600, 1640]
    write_video(tmp_path / "a.mp4", 6, stamps=times, time_base=Fraction(1, 1000))
    found = numbers(read_frames(tmp_path / "a.mp4", fps=fps, start=start))
    for k, number in enumerate(found):
        at = 1000 * (start + k / fps)
        assert abs(times[number] - at) <= min(abs(t - at) for t in times) + 1e-6
    assert fps < 25 or found[-1] == 5


def test_part_of_a_clip(clip):
    assert numbers(read_frames(clip, start=0.5, end=1.0)) == [5, 6, 7, 8, 9]
    assert numbers(read_frames(clip, start=0.5, end=1.0, fps=5)) == [5, 7, 9]
    assert numbers(read_frames(clip, start=1.7)) == [17, 18, 19]
    assert numbers(read_frames(clip, end=0.35)) == [0, 1, 2, 3]
    assert numbers(read_frames(clip, start=0.52, end=0.53)) == [5]
    assert numbers(read_frames(clip, start=0.5, end=9, fps=10, window=range(2, 4))) == [7, 8]
    assert probe(clip, start=0.5, end=1.0, fps=5).length == 3


def test_windows_of_any_order_and_step(clip):
    assert numbers(read_frames(clip, window=range(18, 2, -5))) == [18, 13, 8, 3]
    assert numbers(read_frames(clip, fps=25, window=range(30, 34))) == numbers(read_frames(clip, fps=25))[30:34]


def test_a_window_is_not_decoded_from_the_start(clip, monkeypatch):
    counts = []
    monkeypatch.setattr(module, "_frames", lambda *a, f=module._frames: (counts.append(1) or x for x in f(*a)))
    read_frames(clip, window=range(13, 15))
    assert len(counts) <= 5


def test_a_seek_that_lands_late_is_made_good(clip, monkeypatch):
    class Late:
        def __init__(self, container):
            self.container = container

        def seek(self, offset, *, stream):
            self.container.seek(10**9, stream=stream)

        def __getattr__(self, name):
            return getattr(self.container, name)

    opened = module.open_video

    @contextmanager
    def late(path):
        with opened(path) as (container, stream):
            yield Late(container), stream

    monkeypatch.setattr(module, "open_video", late)
    assert numbers(read_frames(clip, window=range(7, 9))) == [7, 8]


@pytest.mark.parametrize("side", [24, 96])
def test_resize_keeps_the_shape(tmp_path, side):
    write_video(tmp_path / "a.mp4", [gradient().numpy()] * 3, pix_fmt="yuv444p", options={"crf": "0"})
    small = read_frames(tmp_path / "a.mp4", short_side=side)
    assert small.shape == (3, 3, side, side * 4 // 3)
    assert probe(tmp_path / "a.mp4", short_side=side) == ClipInfo(3, side, side * 4 // 3)
    expected = gradient(side, side * 4 // 3).permute(2, 0, 1).float()
    inner = (slice(None), slice(2, -2), slice(2, -2))
    assert (small[1].float() - expected)[inner].abs().mean() < 3


def test_colours_are_right_and_unbiased(tmp_path):
    image = gradient()
    write_video(tmp_path / "a.mp4", [image.numpy()] * 2, options={"crf": "0"})
    error = read_frames(tmp_path / "a.mp4")[0].float() - image.permute(2, 0, 1).float()
    assert error.abs().mean() < 4
    assert error.mean().abs() < 0.5


@pytest.mark.faults
@pytest.mark.reliability("B2")
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_is_applied(tmp_path, degrees):
    """Fails when `orientation_of` is not asked."""
    write_video(tmp_path / "a.mp4", [gradient().numpy()] * 3, pix_fmt="yuv444p", rotation=degrees)
    upright = np.rot90(gradient().numpy(), degrees // 90)
    frames = read_frames(tmp_path / "a.mp4")
    assert (frames[0].permute(1, 2, 0).float() - torch.tensor(upright.copy()).float()).abs().mean() < 3
    info = probe(tmp_path / "a.mp4", short_side=24)
    assert (info.height, info.width) == ((32, 24) if degrees % 180 else (24, 32))
    assert read_frames(tmp_path / "a.mp4", short_side=24).shape[-2:] == (info.height, info.width)


EIGHT = {
    (1, 0, 0, 1): lambda image: image,
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, 1, 1, 0): lambda image: image.swapaxes(0, 1),
    (0, -1, 1, 0): np.rot90,
    (0, 1, -1, 0): lambda image: np.rot90(image, 3),
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", EIGHT)
def test_all_eight_display_matrices(tmp_path, matrix):
    """Fails when `mirrored` or `flipped` is always False."""
    write_video(tmp_path / "a.mp4", [gradient().numpy()] * 3, pix_fmt="yuv444p")
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    a, b, c, d = (65536 * one for one in matrix)
    at = data.index(b"tkhd") + 44
    data[at : at + 20] = struct.pack(">5i", a, b, 0, c, d)
    (tmp_path / "a.mp4").write_bytes(data)
    shown = torch.tensor(EIGHT[matrix](gradient().numpy()).copy()).float()
    assert (read_frames(tmp_path / "a.mp4")[0].permute(1, 2, 0).float() - shown).abs().mean() < 3


def test_rotation_agrees_with_opencv(tmp_path):
    cv2 = pytest.importorskip("cv2")
    write_video(tmp_path / "a.mp4", [gradient().numpy()] * 3, rotation=90)
    _, image = cv2.VideoCapture(str(tmp_path / "a.mp4")).read()
    theirs = torch.tensor(image[..., ::-1].copy()).permute(2, 0, 1).float()
    assert (read_frames(tmp_path / "a.mp4")[0].float() - theirs).abs().mean() < 5


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_pixels_that_are_not_square(tmp_path):
    """Fails when `_size` forgets the aspect of the pixels."""
    write_video(tmp_path / "a.mp4", 3, aspect=Fraction(2, 1))
    assert read_frames(tmp_path / "a.mp4", short_side=24).shape == (3, 3, 24, 64)


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_odd_size(tmp_path):
    """Fails when `_size` cuts odd sizes to even ones."""
    write_video(tmp_path / "a.mp4", [picture(i, 47, 65) for i in range(3)], pix_fmt="yuv444p")
    frames = read_frames(tmp_path / "a.mp4")
    assert frames.shape == (3, 3, 47, 65)
    assert numbers(frames) == [0, 1, 2]


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_one_frame(tmp_path):
    """Fails when `Timeline.interval` is the median of no differences."""
    write_video(tmp_path / "a.mp4", 1)
    assert numbers(read_frames(tmp_path / "a.mp4", fps=25)) == [0]


NAMES = [
    "ünïcode 影片.mp4",
    "a b.mp4",
    "100%d %s.mp4",
    "-dash.mp4",
    "http:x.mp4",
    "new\nline.mp4",
    "concat:a|b.mp4",
]


@pytest.mark.faults
@pytest.mark.reliability("B2")
@pytest.mark.parametrize("name", NAMES)
def test_odd_names_relative_and_absolute(tmp_path, monkeypatch, name):
    """Fails when `open_video` gives FFmpeg the name as it is, without `file:`."""
    write_video(tmp_path / "plain.mp4", 2)
    os.rename(tmp_path / "plain.mp4", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read_frames(name)) == len(read_frames(tmp_path / name)) == 2


@pytest.mark.faults
@pytest.mark.reliability("B2")
def test_frames_that_an_edit_list_cuts_off_are_not_shown(tmp_path):
    """Fails when `_is_shown` counts packets that are to be discarded."""
    write_video(tmp_path / "a.mp4", 10, options={"bf": "0", "g": "5"})
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    begin = data.index(b"elst") + 16
    assert int.from_bytes(data[begin : begin + 4], "big") == 0
    data[begin : begin + 4] = (3 * 1024).to_bytes(4, "big")  # in ticks of 1/10240 s
    (tmp_path / "a.mp4").write_bytes(data)
    assert numbers(read_frames(tmp_path / "a.mp4")) == [3, 4, 5, 6, 7, 8, 9]
    assert numbers(read_frames(tmp_path / "a.mp4", window=range(3, 5))) == [6, 7]


def test_a_file_replaced_is_read_anew(tmp_path):
    write_video(tmp_path / "a.mp4", 3)
    assert probe(tmp_path / "a.mp4").length == 3
    write_video(tmp_path / "a.mp4", 5)
    assert probe(tmp_path / "a.mp4").length == 5


@pytest.mark.parametrize(
    "bad",
    [
        {"fps": 0},
        {"fps": -1},
        {"short_side": 0},
        {"start": -1},
        {"start": 2, "end": 1},
        {"fps": float("nan")},
        {"start": "0"},
        {"end": "1"},
        {"fps": "10"},
        {"short_side": (32, 32)},
    ],
)
def test_arguments_out_of_range(clip, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        read_frames(clip, **bad)
    with pytest.raises(ValueError, match=next(iter(bad))):
        probe(clip, **bad)


@pytest.mark.parametrize("window", [(0, 4), [0, 1, 2], slice(0, 4)])
def test_a_window_that_is_no_range_is_refused(clip, window):
    """Fails when any numbers are taken: of (0, 4) two frames come back, which asks for four."""
    with pytest.raises(ValueError, match=r"window must be a range of grid frames, got .*range\(10, 74\)"):
        read_frames(clip, window=window)


def test_a_box_of_three_numbers_is_refused(clip):
    """Fails when the box is not looked at: a TypeError says that an argument is missing."""
    with pytest.raises(ValueError, match=r"box must be \(top, left, height, width\), got \(0, 0, 8\)"):
        read_frames(clip, box=(0, 0, 8))


@pytest.mark.parametrize("window", [range(0), range(18, 21), range(-1, 2)])
def test_window_outside_the_clip(clip, window):
    with pytest.raises(ValueError, match="20 grid frames"):
        read_frames(clip, window=window)


REAL = {
    "torchvision_videos/RATRACE_wave_f_nm_np1_fr_goo_37.avi": (72, 240, 560),
    "torchvision_videos/hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi": (83, 240, 320),
    "torchvision_videos/v_SoccerJuggling_g23_c01.avi": (240, 240, 320),
    "torchvision_videos/SOX5yA1l24A.mp4": (332, 256, 340),
    "d3dhelper_kinetics/abseiling/abseiling.mp4": (125, 360, 636),
    "ssv2_1clip/smth-smth-1.webm": (47, 240, 427),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_against_opencv(shared, name):
    cv2 = pytest.importorskip("cv2")
    path = shared / "data" / "clips" / name
    length, height, width = REAL[name]
    assert probe(path) == ClipInfo(length, height, width)
    window = range(length - 5, length)
    mine = read_frames(path, window=window).float()
    capture = cv2.VideoCapture(str(path))
    theirs = [capture.read()[1][..., ::-1].copy() for _ in range(length)]
    assert not capture.read()[0]
    for number, frame in zip(window, mine, strict=True):
        assert (frame - torch.tensor(theirs[number]).permute(2, 0, 1).float()).abs().mean() < 3


def test_all_real_clips_can_be_read(shared):
    paths = sorted((shared / "data" / "ut_interaction").rglob("*.avi"))[::12]
    assert paths
    for path in paths:
        info = probe(path, fps=10, short_side=64)
        assert read_frames(path, fps=10, short_side=64).shape == (info.length, 3, info.height, info.width)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_frames_that_nothing_needs_are_left_out_and_change_nothing(tmp_path, monkeypatch, name) -> None:
    """B-frames of which some are references, at fewer frames per second than the file has."""
    noise = np.random.default_rng(0)
    images = [
        np.clip(picture(k) + noise.integers(-30, 30, picture(k).shape), 0, 255).astype(np.uint8) for k in range(60)
    ]
    options = {"bf": "3", "b-pyramid": "normal", "g": "30", "x264-params": "b-adapt=0"}
    write_video(tmp_path / name, images, rate=30, options=options)
    decoded = []
    needed = module._needed_frames

    def counted(*given):
        for pair in needed(*given):
            decoded.append(pair[0])
            yield pair

    monkeypatch.setattr(module, "_needed_frames", counted)
    found = read_frames(tmp_path / name, fps=10, window=range(13, 18))
    short = len(decoded)
    every = lambda container, stream, _: module._frames(container, stream, False)  # noqa: E731
    monkeypatch.setattr(module, "_needed_frames", every)
    assert torch.equal(found, read_frames(tmp_path / name, fps=10, window=range(13, 18)))
    assert torch.equal(found, read_frames(tmp_path / name)[39:54:3])
    if name != "a.ts":  # there a packet may hold half a frame, and a seek may land too late
        assert 5 <= short < 20


def test_real_clips_are_the_same_with_every_frame_decoded(shared, monkeypatch) -> None:
    clips = list((shared / "data" / "clips").rglob("*.mp4"))
    if not clips:
        pytest.skip("no clips in the shared data folder")
    settings = {"fps": 25.0, "short_side": 64, "window": range(30, 70)}
    found = [read_frames(path, **settings) for path in clips]
    every = lambda container, stream, _: module._frames(container, stream, False)  # noqa: E731
    monkeypatch.setattr(module, "_needed_frames", every)
    assert all(torch.equal(one, read_frames(path, **settings)) for one, path in zip(found, clips, strict=True))


@pytest.mark.parametrize("rotation", [None, 90, 180])
def test_a_box_is_that_part_of_the_frames(tmp_path, rotation) -> None:
    write_video(tmp_path / "a.mp4", [gradient().numpy()] * 4, rotation=rotation)
    whole = read_frames(tmp_path / "a.mp4", short_side=40)
    for box in ((0, 0, *whole.shape[-2:]), (3, 5, 20, 12), (whole.shape[-2] - 1, whole.shape[-1] - 1, 1, 1)):
        top, left, height, width = box
        part = read_frames(tmp_path / "a.mp4", short_side=40, box=box)
        assert torch.equal(part, whole[..., top : top + height, left : left + width])
    for box in ((0, 0, 0, 4), (-1, 0, 4, 4), (0, 0, whole.shape[-2] + 1, 4), (0, whole.shape[-1] - 3, 4, 4)):
        with pytest.raises(ValueError, match=r"box must be within the frames of \d+ x \d+ pixels"):
            read_frames(tmp_path / "a.mp4", short_side=40, box=box)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((96, 128), {}),
        ((96, 128), {"pix_fmt": "yuvj420p"}),
        ((96, 128), {"options": {"colorspace": "bt709"}}),
        ((96, 128), {"pix_fmt": "yuv444p"}),
        ((96, 128), {"pix_fmt": "yuv420p10le"}),
        ((97, 131), {"pix_fmt": "yuv444p"}),
        ((97, 131), {"codec": "ffv1", "pix_fmt": "yuv420p"}),
        ((96, 128), {"rotation": 180}),
    ],
)
def test_a_box_without_a_resize_has_the_bytes_of_the_whole(tmp_path, size, options) -> None:
    """Fails when a part is cut without a margin, off the grid of colour samples, or loses the colour space."""
    path = tmp_path / ("a.mkv" if "codec" in options else "a.mp4")
    noise = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    write_video(path, list(noise), **options)
    whole = read_frames(path)
    height, width = whole.shape[-2:]
    boxes = [(0, 0, height, width), (height - 1, width - 1, 1, 1), (0, width - 40, 40, 40), (height - 41, 0, 41, 37)]
    boxes += [(top, left, 31, 33) for top in range(5, 11) for left in range(7, 13)]
    for box in boxes:
        top, left, height, width = box
        part = read_frames(path, box=box)
        assert torch.equal(part, whole[..., top : top + height, left : left + width]), box
