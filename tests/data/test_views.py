import pickle
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from kdvideo.data import (
    ClipReader,
    MultiView,
    PairedClips,
    Window,
    from_folder,
    mean_softmax,
    multi_crop,
    single_pass,
    whole_video,
)
from kdvideo.flow import EstimatorSource, FlowStore
from tests.data.videos import gradient, write_video

COUNT = st.integers(1, 12)
LENGTH = st.integers(1, 400)
PROTOCOLS = [multi_crop, whole_video, single_pass, partial(multi_crop, clips=1, crops=1)]


@st.composite
def sizes(draw):
    """(L, H, W, T, crop)."""
    crop = draw(st.integers(1, 90))
    return (
        draw(LENGTH),
        crop + draw(st.integers(0, 90)),
        crop + draw(st.integers(0, 90)),
        draw(st.integers(1, 80)),
        crop,
    )


def shown(windows, length):
    """The frames that some window shows."""
    return {at % length for window in windows for at in range(window.start, window.start + window.frames)}


@settings(deadline=None, max_examples=150)
@given(sizes(), COUNT, COUNT)
def test_views_lie_within_the_clip(size, clips, crops):
    length, height, width, frames, crop = size
    for protocol in (*PROTOCOLS, partial(multi_crop, clips=clips, crops=crops)):
        for window in protocol(*size):
            assert 0 <= window.start <= max(length - window.frames, 0)
            assert 0 <= window.top <= height - crop
            assert 0 <= window.left <= width - crop
            assert window.crop == crop
            assert not window.flip
            assert protocol is single_pass or window.frames == frames


@settings(deadline=None, max_examples=150)
@given(sizes(), COUNT, COUNT)
def test_views_are_symmetric_in_time_and_space(size, clips, crops):
    length, height, width, frames, _ = size
    found = multi_crop(*size, clips=clips, crops=crops)
    assert len(found) == clips * crops
    for window, mirror in zip(found, found[::-1], strict=True):
        assert abs(window.start + mirror.start - max(length - frames, 0)) <= 1
        assert abs(window.top + mirror.top - (height - window.crop)) <= 1
        assert abs(window.left + mirror.left - (width - window.crop)) <= 1
    if clips > 1:
        assert found[0].start == 0
        assert found[-1].start == max(length - frames, 0)
    if crops > 1:  # along the longer side only
        assert (found[0].top, found[crops - 1].top) == (0, height - found[0].crop) or height <= width
        assert (found[0].left, found[crops - 1].left) == (0, width - found[0].crop) or height > width
        assert len({window.left if height > width else window.top for window in found}) == 1


@settings(deadline=None, max_examples=150)
@given(sizes())
def test_one_view_is_the_centre(size):
    length, height, width, frames, crop = size
    (window,) = multi_crop(*size, clips=1, crops=1)
    assert window.start == max(length - frames, 0) // 2
    assert (window.top, window.left) == ((height - crop) // 2, (width - crop) // 2)
    (whole,) = single_pass(*size)
    assert whole.frames == max(frames, min(length, 250))
    assert whole.start == max(length - 250, 0) // 2
    assert (whole.top, whole.left) == (window.top, window.left)
    assert len(shown([whole], length)) == min(length, 250)


@settings(deadline=None, max_examples=150)
@given(sizes(), COUNT)
def test_enough_views_cover_the_video(size, clips):
    length, _, _, frames, _ = size
    found = whole_video(*size)
    assert len(found) == -(-length // frames)
    assert shown(found, length) == set(range(length))
    if clips * frames >= length and clips > 1:
        assert shown(multi_crop(*size, clips=clips, crops=1), length) == set(range(length))


@settings(deadline=None, max_examples=100)
@given(st.integers(4, 90), st.integers(0, 180), st.booleans())
def test_three_crops_of_the_short_side_cover_the_frame(side, more, upright):
    long = min(side + more, 3 * side)
    height, width = (long, side) if upright else (side, long)
    found = multi_crop(1, height, width, 1, side, clips=1, crops=3)
    offsets = [window.top if upright else window.left for window in found]
    assert {pixel for at in offsets for pixel in range(at, at + side)} == set(range(long))


def test_published_views():
    found = multi_crop(250, 256, 340, 32, 256)
    assert [(window.top, window.left) for window in found[:3]] == [(0, 0), (0, 42), (0, 84)]
    assert [window.start for window in found[::3]] == [round(218 * k / 9) for k in range(10)]
    assert [window.top for window in multi_crop(250, 340, 256, 32, 256)[:3]] == [0, 42, 84]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sizes_that_cannot_be(protocol):
    with pytest.raises(ValueError, match="at most 30, the shorter side of the frames, got 31"):
        protocol(9, 30, 40, 4, 31)
    with pytest.raises(ValueError, match=r"at least 1, got \{'length': 0, 'crop': -1\}"):
        protocol(0, 30, 40, 4, -1)
    with pytest.raises(ValueError, match="'frames': 0"):
        protocol(9, 30, 40, 0, 8)


def test_counts_that_cannot_be():
    with pytest.raises(ValueError, match="'clips': 0, 'crops': 0"):
        multi_crop(9, 30, 40, 4, 8, clips=0, crops=0)
    with pytest.raises(ValueError, match="at least the 64 frames of the training, got 63"):
        single_pass(9, 30, 40, 64, 8, most=63)


def test_mean_softmax():
    logits = torch.randn(5, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    by_hand = torch.stack([sum(view.exp() / view.exp().sum() for view in clip) / 7 for clip in logits])
    torch.testing.assert_close(mean_softmax(logits), by_hand)
    torch.testing.assert_close(mean_softmax(logits).sum(-1), torch.ones(5, dtype=torch.float64))
    assert torch.equal(mean_softmax(logits[0, :1]), logits[0, 0].softmax(-1))
    assert mean_softmax(logits.bfloat16()).dtype == torch.float32
    for shape in ((3,), (0, 3), (2, 0)):
        with pytest.raises(ValueError, match="views, classes"):
            mean_softmax(torch.zeros(shape))


LENGTHS = {"a/0.mp4": 20, "a/1.mp4": 3, "b/2.mp4": 1, "b/3.mp4": 2}
SIZE = {"frames": 4, "fps": 10, "short_side": 48, "crop": 40}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Clips of 64 x 48 pixels whose picture moves to the right."""
    root = tmp_path_factory.mktemp("clips")
    for name, length in LENGTHS.items():
        (root / name).parent.mkdir(exist_ok=True)
        images = [gradient().roll(number, 1).numpy() for number in range(length)]
        write_video(root / name, images, pix_fmt="yuv444p", options={"crf": "1"})
    return from_folder(root)


def moving(clip, frames):
    """A flow that is another one at every frame and place; pixels."""
    return (frames[:-1, :2].float() + frames[1:, :2].float()) / 25.5


def clips(manifest, **options):
    return PairedClips(manifest, **({"train": False, "flow": moving} | SIZE | options))


def test_windows_in_time_are_those_of_paired_clips(manifest):
    one_by_one = clips(manifest, views=5)
    together = MultiView(clips(manifest), partial(multi_crop, clips=5, crops=1))
    assert len(together) == len(LENGTHS)
    for index, item in enumerate(together):
        parts = [one_by_one[5 * index + view] for view in range(5)]
        for stream, channels in (("rgb", 3), ("flow", 2)):
            assert item[stream].shape == (5, channels, 4, 40, 40)
            assert torch.equal(item[stream], torch.stack([part[stream] for part in parts]))
        assert item["length"].tolist() == [part["length"] for part in parts]
        assert all(item[name] == parts[0][name] for name in ("label", "clip", "index"))


def test_crops_are_cut_from_the_same_frames(manifest):
    whole = clips(manifest, crop=48, views=10)
    item = MultiView(clips(manifest), multi_crop)[0]
    for number, window in enumerate(multi_crop(20, 48, 64, 4, 40)):
        assert (window.top, window.left) == (4, (0, 12, 24)[number % 3])
        if window.left == 12:  # the one that lies within the centre crop of 48 pixels
            middle = whole[number // 3]
            for stream in ("rgb", "flow"):
                assert torch.equal(item[stream][number], middle[stream][:, :, 4:44, 4:44])
    left, centre, right = item["rgb"][:3]
    assert torch.equal(left[..., 12:], centre[..., :-12])
    assert torch.equal(centre[..., 12:], right[..., :-12])


def test_single_pass_takes_the_clip_as_long_as_it_is(manifest):
    items = list(MultiView(clips(manifest), single_pass))
    assert [item["rgb"].shape[2] for item in items] == [20, 4, 4, 4]
    assert [item["length"].tolist() for item in items] == [[20], [3], [1], [2]]
    short = items[1]["rgb"][0]
    assert torch.equal(short[:, 3], short[:, 0])  # it starts over
    assert not torch.equal(short[:, 2], short[:, 0])
    assert torch.equal(items[1]["flow"][0, :, 2], items[1]["flow"][0, :, 1])  # the last frame has no next
    assert not items[2]["flow"].any()
    assert MultiView(clips(manifest), partial(single_pass, most=6))[0]["rgb"].shape[2] == 6


def test_the_last_frame_alone_takes_the_flow_before_it(manifest):
    last, before = (MultiView(clips(manifest), lambda *size, at=at: [window(start=at, frames=1)])[0] for at in (19, 18))
    assert torch.equal(last["flow"], before["flow"])
    assert not torch.equal(last["rgb"], before["rgb"])


def test_a_clip_is_decoded_once(manifest, monkeypatch):
    reads = []
    read = ClipReader._read

    def spy(self, index, info, first, last, box):
        reads.append((first, last))
        return read(self, index, info, first, last, box)

    monkeypatch.setattr(ClipReader, "_read", spy)
    MultiView(clips(manifest), multi_crop)[0]
    assert reads == [(0, 19)]
    MultiView(clips(manifest), partial(multi_crop, clips=1))[0]
    assert reads[1:] == [(8, 11)]  # and no more of it than the views show
    kept = clips(manifest, in_memory=True)
    for protocol in (partial(multi_crop, clips=2), single_pass):
        first, again = (MultiView(source, protocol)[0] for source in (clips(manifest), kept))
        assert torch.equal(first["rgb"], again["rgb"])
        assert torch.equal(first["flow"], again["flow"])
    assert reads[2:].count((0, 19)) == 3  # twice from the file each time, once into memory
    assert torch.equal(kept[0]["rgb"], clips(manifest)[0]["rgb"])


def test_streams(manifest, tmp_path):
    store = FlowStore(tmp_path / "flow", bound=20.0, fps=10)
    for row in manifest:
        length = LENGTHS[row["clip"]]
        if length > 1:
            store.write(row["clip"], torch.full((length - 1, 2, 48, 64), 5.0))
    item = MultiView(clips(manifest, flow=store, rgb=False), multi_crop)[0]
    assert set(item) == {"flow", "label", "index", "clip"}
    torch.testing.assert_close(item["flow"], torch.full((30, 2, 4, 40, 40), 0.25), atol=0.01, rtol=0)
    assert set(MultiView(clips(manifest, flow=None), multi_crop)[0]) == {"rgb", "length", "label", "index", "clip"}
    computed = MultiView(clips(manifest, flow=EstimatorSource(), crop=48), single_pass)[0]["flow"]
    assert computed[0, 0, :, 8:40, 30:40].mean() > 0.01  # to the right


def test_in_workers_and_pickled(manifest):
    dataset = pickle.loads(pickle.dumps(MultiView(clips(manifest), partial(multi_crop, clips=2))))
    for here, there in zip(dataset, DataLoader(dataset, batch_size=None, num_workers=1), strict=True):
        assert torch.equal(here["rgb"], there["rgb"])
        assert here["clip"] == there["clip"]


def test_what_cannot_be_viewed(manifest):
    for options in ({"train": True}, {"views": 2}):
        with pytest.raises(ValueError, match="clips must have train=False and views=1"):
            MultiView(clips(manifest, **options), multi_crop)
    dataset = MultiView(clips(manifest), multi_crop)
    for index in (-1, 4):
        with pytest.raises(IndexError, match=f"item {index} of 4"):
            dataset[index]


def window(**changes):
    return Window(**({"start": 0, "top": 0, "left": 0, "crop": 40, "flip": False, "frames": 4} | changes))


@pytest.mark.parametrize("changes", [{"start": 17}, {"start": -1}, {"top": 9}, {"left": 25}, {"left": -1}])
def test_a_protocol_of_ones_own_stays_within_the_clip(manifest, changes):
    with pytest.raises(ValueError, match="views must be within the clip"):
        MultiView(clips(manifest), lambda *size: [window(), window(**changes)])[0]


@pytest.mark.parametrize("found", [[], [window(), window(frames=3)], [window(), window(crop=39)]])
def test_a_protocol_of_ones_own_gives_views_of_one_size(manifest, found):
    with pytest.raises(ValueError, match=f"one or more views, all of one size, got {len(found)} views"):
        MultiView(clips(manifest), lambda *size: found)[0]


def test_a_mirrored_view(manifest):
    plain, mirrored = ({"flip": flip} for flip in (False, True))
    item = MultiView(clips(manifest), lambda *size: [window(**plain), window(**mirrored)])[0]
    assert torch.equal(item["rgb"][1], item["rgb"][0].flip(-1))
    assert torch.equal(item["flow"][1, 0], -item["flow"][0, 0].flip(-1))
    assert torch.equal(item["flow"][1, 1], item["flow"][0, 1].flip(-1))


def test_real_clips(shared):
    source = from_folder(shared / "data" / "ut_interaction" / "set1").select([0])
    paired = PairedClips(source, train=False, frames=8, fps=10, short_side=48, crop=40)
    item = MultiView(paired, whole_video)[0]
    assert torch.equal(item["rgb"], MultiView(paired, partial(multi_crop, clips=len(item["rgb"]), crops=1))[0]["rgb"])
    (once,) = MultiView(paired, single_pass)[0]["rgb"]
    assert torch.equal(once[:, :8], item["rgb"][0])
    assert torch.equal(once[:, -8:], item["rgb"][-1])
