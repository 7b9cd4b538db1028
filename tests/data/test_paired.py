from pathlib import Path

import pytest
import torch
from datasets import concatenate_datasets
from torch.utils.data import DataLoader

from kdvideo.data import ClipError, ClipInfo, ClipReader, PairedClips, Window, from_csv, from_folder, read_frames
from kdvideo.data.clips import reader as module
from kdvideo.flow import EstimatorSource, FlowStore
from tests.data.videos import gradient, write_video

LENGTHS = {"a/0.mp4": 20, "a/1.mp4": 9, "b/2.mp4": 14, "b/3.mp4": 1, "b/4.mp4": 2}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Clips of 64 x 48 pixels at 10 fps.

    Above, red grows to the right and green downwards; the lower third is grey, and brighter in every frame.
    """
    root = tmp_path_factory.mktemp("clips")
    for name, length in LENGTHS.items():
        (root / name).parent.mkdir(exist_ok=True)
        images = [gradient().numpy() for _ in range(length)]
        for number, image in enumerate(images):
            image[32:] = 20 + 10 * number
        write_video(root / name, images, pix_fmt="yuv444p", options={"crf": "1", "g": "6", "bf": "2"})
    return from_folder(root)


def times(rgb):
    """The frame numbers that (3, T, H, W) with values in 0..255 shows."""
    return [round(float(grey - 20) / 10) for grey in rgb[:, :, -5:].mean((0, 2, 3))]


def place(clip, frames):
    """A flow that tells where it is: u is x and v is y, in pixels from the centre."""
    length, _, height, width = frames.shape
    v, u = torch.meshgrid(torch.arange(height) - 23.5, torch.arange(width) - 31.5, indexing="ij")
    return torch.stack([u, v]).expand(length - 1, 2, height, width)


def place_and_time(clip, frames):
    """As `place`, but v is the number of the frame."""
    flow = place(clip, frames).clone()
    flow[:, 1] = torch.tensor(times(frames.transpose(0, 1).float())[:-1])[:, None, None]
    return flow


def clips(manifest, **options):
    settings = {"train": True, "frames": 6, "fps": 10, "short_side": 48, "crop": 40, "flow": place_and_time}
    return PairedClips(manifest, **(settings | {"flow_bound": 64.0} | options))


def shown(item):
    """(3, T, H, W) in 0..255, the left and top edge of the crop and the mirroring, as an item's rgb shows them."""
    rgb = (item["rgb"] + 1) * 127.5
    red, green = rgb[0, 0, 4:20].mean(0) / 255 * 64, rgb[1, 0, :20].mean(1) / 255 * 48
    flip = bool(red[0] > red[-1])
    return rgb, round(float(red[-1 if flip else 0])), round(float(green[0])), flip


def starts(item):
    """The frame number that each flow vector tells."""
    return (item["flow"][1, :, 0, 0] * 64).round().tolist()


def test_item(manifest):
    item = clips(manifest)[0]
    names = {"label", "index", "clip", "view"}
    assert set(item) == {"rgb", "length", "flow", *names}
    assert item["rgb"].shape == (3, 6, 40, 40)
    assert item["flow"].shape == (2, 6, 40, 40)
    assert item["rgb"].dtype == item["flow"].dtype == torch.float32
    assert item["rgb"].min() >= -1
    assert item["rgb"].max() <= 1
    assert set(clips(manifest, flow=None)[0]) == {"rgb", "length", *names}
    assert set(clips(manifest, rgb=False)[0]) == {"flow", *names}
    assert [clips(manifest)[i]["clip"] for i in range(5)] == list(LENGTHS)
    assert [clips(manifest)[i]["label"] for i in range(5)] == manifest["label"][:]
    with pytest.raises(IndexError):
        clips(manifest)[5]


@pytest.mark.parametrize("in_memory", [False, True])
def test_rgb_and_flow_share_crop_and_mirroring(manifest, in_memory):
    data = clips(manifest, flow=place, in_memory=in_memory)
    seen = set()
    for epoch in range(30):
        item = data[epoch, epoch % 3]
        _, left, top, flip = shown(item)
        u, v = item["flow"][:, 0] * 64
        # u, mirrored, is negated; what is left is the place that the picture shows
        x, y = (-u.flip(-1) if flip else u)[0] + 31.5, v[:, 0] + 23.5
        assert torch.allclose(x, torch.arange(40) + x[0], atol=0.1)
        assert torch.allclose(y, torch.arange(40) + y[0], atol=0.1)
        assert abs(float(x[0]) - left) <= 1.1
        assert abs(float(y[0]) - top) <= 1.1
        seen.add((round(float(x[0])), round(float(y[0])), flip))
    assert {flip for *_, flip in seen} == {True, False}
    assert len({x for x, *_ in seen}) > 10
    assert len({y for _, y, _ in seen}) > 5


@pytest.mark.parametrize("in_memory", [False, True])
def test_rgb_and_flow_share_frames(manifest, in_memory):
    data = clips(manifest, in_memory=in_memory)
    first = set()
    for epoch in range(20):
        for index, length in enumerate(LENGTHS.values()):
            item = data[epoch, index]
            numbers = times(shown(item)[0])
            assert numbers == [(numbers[0] + t) % length for t in range(6)]
            assert starts(item) == [min(n, max(length - 2, 0)) for n in numbers]
            first |= {numbers[0]} if index == 0 else set()
    assert len(first) > 8


def test_flow_is_truncated_and_scaled(manifest):
    flow = clips(manifest, flow_bound=8.0, flip=False)[0]["flow"]
    assert flow.min() == -1
    assert flow.max() == 1
    inside = flow[0][flow[0].abs() < 1] * 8
    assert torch.allclose(inside, inside.mul(2).round() / 2, atol=1e-2)


def test_flow_at_the_seam_of_a_looped_clip_and_at_its_end(manifest):
    nine = clips(manifest, train=False, frames=12)[1]  # the clip of 9 frames
    assert starts(nine) == [0, 1, 2, 3, 4, 5, 6, 7, 7, 0, 1, 2]
    single = clips(manifest, train=False)[3]  # one frame: nothing moves
    assert single["flow"].abs().max() == 0
    assert single["rgb"].shape == (3, 6, 40, 40)
    last = clips(manifest, train=False, frames=1, views=20)
    assert [starts(last[i]) for i in range(20)] == [[min(i, 18)] for i in range(20)]
    assert [times(shown(last[i])[0]) for i in range(20)] == [[i] for i in range(20)]


def test_views_for_testing_are_spread_evenly(manifest):
    data = clips(manifest, train=False, views=3, frames=6)
    assert len(data) == 15
    items = [data[i] for i in range(3)]
    assert [(item["index"], item["view"]) for item in items] == [(0, 0), (0, 1), (0, 2)]
    assert [starts(item)[0] for item in items] == [0, 7, 14]
    centre = clips(manifest, train=False)[0]
    assert starts(centre)[0] == 7
    _, left, top, flip = shown(centre)
    assert (left in (11, 12, 13), top in (3, 4, 5), flip) == (True, True, False)
    assert all(torch.equal(centre["rgb"], clips(manifest, train=False, seed=s)[0]["rgb"]) for s in range(4))


def test_input_range(manifest):
    rgb = clips(manifest, flow=None, train=False, input_range=(0.0, 1.0))[0]["rgb"]
    both = clips(manifest, flow=None, train=False)[0]["rgb"]
    assert torch.allclose(rgb * 2 - 1, both, atol=1e-6)
    assert rgb.min() >= 0


def same(a, b):
    tensors = [torch.equal(torch.as_tensor(a[k]), torch.as_tensor(b[k])) for k in a if k != "clip"]
    return set(a) == set(b) and a.get("clip") == b.get("clip") and all(tensors)


def test_a_view_is_a_function_of_seed_epoch_and_index(manifest):
    data, again, other = clips(manifest), clips(manifest, in_memory=True), clips(manifest, seed=1)
    for epoch in (0, 3):
        again.set_epoch(epoch)
        for index in (4, 0, 2):
            assert same(data[epoch, index], again[index])
    assert not same(data[0, 0], data[1, 0])
    assert not same(data[0, 0], other[0, 0])
    twice = clips(manifest, views=2)
    assert not same({"rgb": twice[0]["rgb"]}, {"rgb": twice[1]["rgb"]})


@pytest.mark.parametrize("in_memory", [False, True])
def test_views_repeat_with_their_period(manifest, in_memory):
    data, never = clips(manifest, distinct_views=3, in_memory=in_memory), clips(manifest)
    for epoch in range(7):
        assert same(data[epoch, 0], never[epoch % 3, 0])
        assert (data[epoch, 0]["view"], never[epoch, 0]["view"]) == (epoch % 3, epoch)
    assert not same({"rgb": data[0, 0]["rgb"]}, {"rgb": data[1, 0]["rgb"]})
    data.set_epoch(4)
    assert data[0]["view"] == 1
    assert [clips(manifest, views=2, distinct_views=3)[4, i]["view"] for i in range(4)] == [2, 3, 2, 3]
    assert clips(manifest, train=False, views=2)[5, 1]["view"] == 1


def test_the_fingerprint_of_views_changes_with_the_views_and_with_nothing_else(manifest):
    text = clips(manifest).view_fingerprint
    same_views = [{"flow": None}, {"in_memory": True}, {"distinct_views": 3}, {"fps": 10.0}, {"flow_bound": 64}]
    assert all(clips(manifest, **change).view_fingerprint == text for change in same_views)
    others = [
        {"frames": 7}, {"fps": 11}, {"short_side": 47}, {"crop": 39}, {"seed": 1}, {"flip": False}, {"views": 2},
        {"flow_bound": 63.0}, {"input_range": (0, 1)}, {"train": False}, {"train": False, "views": 2},
    ]  # fmt: skip
    texts = {clips(manifest, **change).view_fingerprint for change in others}
    texts |= {clips(manifest.select(rows)).view_fingerprint for rows in ([0, 1], [1, 0])}
    assert len(texts | {text}) == len(others) + 3
    even = {clips(manifest, train=False, **change).view_fingerprint for change in ({}, {"seed": 1}, {"flip": False})}
    assert len(even) == 1


def test_the_length_is_the_number_of_different_frames(manifest):
    for index, length in enumerate(LENGTHS.values()):
        item = clips(manifest)[2, index]
        assert item["length"] == min(length, 6) == len(set(times(shown(item)[0])))


def test_mirroring_can_be_switched_off(manifest):
    assert not any(shown(clips(manifest, flip=False)[epoch, 0])[-1] for epoch in range(8))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("in_memory", [False, True])
def test_workers_change_no_byte_and_see_the_epoch(manifest, in_memory):
    expected = [[clips(manifest)[epoch, index] for index in range(5)] for epoch in range(3)]
    for workers in (0, 1, 2):
        data = clips(manifest, in_memory=in_memory)
        loader = DataLoader(data, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
        for epoch in range(3):
            data.set_epoch(epoch)
            items = list(loader)
            assert all(same(a, b) for a, b in zip(items, expected[epoch], strict=True))


@pytest.mark.slow
def test_spawned_workers(manifest):
    data = clips(manifest)
    loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert all(same(item, data[i]) for i, item in enumerate(loader))


def test_in_memory_reads_each_clip_once(manifest, monkeypatch):
    data = clips(manifest, in_memory=True)
    for index in range(5):
        data[0, index]
    monkeypatch.setattr(module, "read_frames", None)
    monkeypatch.setattr(module, "probe", None)
    data.reader.flow = None
    assert "flow" in data[1, 0]


def test_other_seeds_share_what_is_in_memory(manifest, monkeypatch):
    first = clips(manifest, in_memory=True, distinct_views=2)
    for index in range(5):
        first[0, index]
    monkeypatch.setattr(module, "read_frames", None)
    other = first.with_seed(7, distinct_views=3)
    other.set_epoch(4)
    items = [other[index] for index in range(5)]
    monkeypatch.undo()
    assert all(same(item, clips(manifest, seed=7)[1, index]) for index, item in enumerate(items))
    assert same(first[0], clips(manifest)[0, 0])  # its seed and epoch are its own
    assert same(first[3, 0], clips(manifest)[1, 0])
    assert first.with_seed(7).view_fingerprint == clips(manifest, seed=7).view_fingerprint
    assert first.with_seed(7)[5, 0]["view"] == 5
    with pytest.raises(ValueError, match="distinct_views must be at least 1"):
        first.with_seed(7, distinct_views=0)


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_segment_holds_the_frames_and_the_flow_of_each(manifest, in_memory):
    reader = ClipReader(manifest, fps=10, short_side=48, flow=place_and_time, flow_bound=64.0, in_memory=in_memory)
    assert reader.info(0) == ClipInfo(20, 48, 64)
    for frames in (range(3, 7), range(16, 20), range(19, 20)):
        found = reader.read(0, frames)
        first = 0 if in_memory else min(frames[0], 18)
        assert (found.first, found.info) == (first, ClipInfo(20, 48, 64))
        assert times(found.frames.transpose(0, 1).float())[frames[0] - first :][: len(frames)] == list(frames)
        numbers = (found.flow[:, 1, 0, 0] * 64).round().tolist()
        assert [numbers[min(frame, 18) - first] for frame in frames] == [min(frame, 18) for frame in frames]
    single = reader.read(3, range(1))
    assert single.frames.shape == (1, 3, 48, 64)
    assert not single.flow.any()


def test_readers_of_ones_own_views(manifest):
    reader = ClipReader(manifest, fps=10, short_side=48, flow=place_and_time, flow_bound=64.0)
    (view,) = reader.views(0, lambda info: [Window((info.length - 6) // 2, 4, 12, 40, False, 6)])
    centre = clips(manifest, train=False)[0]
    assert same(view | {"view": 0}, centre)
    with pytest.raises(ValueError, match=r"at least one view of clip 'a/0\.mp4', got none"):
        reader.views(0, lambda info: [])
    with pytest.raises(ValueError, match="short_side must be a whole number of at least 1, got 0"):
        ClipReader(manifest, short_side=0)


@pytest.fixture
def store(manifest, tmp_path):
    store = FlowStore(tmp_path / "flow", bound=64.0, fps=10)
    for row in manifest:
        frames = read_frames(row["path"], fps=10)
        if len(frames) > 1:
            store.write(row["clip"], place_and_time(row["clip"], frames))
    return store


@pytest.mark.parametrize("in_memory", [False, True])
def test_stored_flow_is_that_of_the_same_frames(manifest, store, in_memory):
    stored, computed = clips(manifest, flow=store, in_memory=in_memory), clips(manifest)
    for epoch in range(4):
        for index in range(5):
            a, b = stored[epoch, index], computed[epoch, index]
            assert torch.equal(a["rgb"], b["rgb"])
            assert torch.allclose(a["flow"], b["flow"], atol=0.5 / 127 + 1e-3)


@pytest.mark.parametrize("in_memory", [False, True])
def test_flow_alone_from_a_store_decodes_nothing(manifest, store, in_memory, monkeypatch):
    expected = clips(manifest, flow=store)
    items = [expected[1, index] for index in range(5)]
    monkeypatch.setattr(module, "read_frames", None)
    data = clips(manifest, flow=store, rgb=False, in_memory=in_memory)
    for index, item in enumerate(items):
        assert torch.equal(data[1, index]["flow"], item["flow"])


def test_only_the_window_is_read(manifest, store, monkeypatch):
    asked = []

    def read(path, **options):
        asked.append(options["window"])
        return read_frames(path, **options)

    monkeypatch.setattr(module, "read_frames", read)
    flow = clips(manifest, train=False)[0]["flow"]
    rgb = clips(manifest, train=False, flow=store)[0]["rgb"]
    assert flow.shape[1] == rgb.shape[1] == 6
    assert asked == [range(7, 14), range(7, 13)]  # computing the last flow takes one frame more


def test_flow_of_other_frames_is_refused(manifest, tmp_path):
    store = FlowStore(tmp_path, bound=64.0, fps=10)
    store.write("a/0.mp4", torch.zeros(19, 2, 24, 32))
    store.write("a/1.mp4", torch.zeros(5, 2, 48, 64))
    for in_memory in (True, False):
        data = clips(manifest, train=False, flow=store, in_memory=in_memory)
        for index, name in enumerate(("a/0.mp4", "a/1.mp4")):
            with pytest.raises(ValueError, match=f"flow .*{name}.* must be"):
                data[index]
        with pytest.raises(KeyError, match=r"b/2\.mp4"):
            data[2]
    with pytest.raises(ValueError, match=r"'a/0\.mp4' must be .*, got \(3, 2, 1, 1\)"):
        clips(manifest, flow=lambda clip, frames: torch.zeros(3, 2, 1, 1))[0]


def test_parts_of_a_file(manifest, tmp_path):
    path = manifest[0]["path"]
    (tmp_path / "parts.csv").write_text(f"{path},x,0.5,1.2\n{path},y,1.2,\n")
    data = clips(from_csv(tmp_path / "parts.csv"), train=False, frames=9)
    assert starts(data[0]) == [5, 6, 7, 8, 9, 10, 10, 5, 6]
    assert starts(data[1]) == [12, 13, 14, 15, 16, 17, 18, 18, 12]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_clip_that_cannot_be_read_is_named_and_not_replaced(manifest, tmp_path, train, in_memory):
    (tmp_path / "gone.mp4").write_bytes(Path(manifest[0]["path"]).read_bytes()[:500])
    (tmp_path / "list.csv").write_text(f"{manifest[0]['path']},a\ngone.mp4,b\n")
    data = clips(from_csv(tmp_path / "list.csv"), train=train, in_memory=in_memory)
    data[0]
    for _ in range(2):
        with pytest.raises(ClipError, match=r"gone\.mp4"):
            data[1]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ({"crop": 49}, "crop must be in 1..48"),
        ({"crop": 0}, "crop"),
        ({"frames": 0}, "frames"),
        ({"views": 0}, "views"),
        ({"fps": 0.0}, "fps"),
        ({"flow_bound": -1.0}, "flow_bound"),
        ({"distinct_views": 0}, "distinct_views"),
        ({"rgb": False, "flow": None}, "rgb must be True where flow is None"),
    ],
)
def test_arguments_out_of_range(manifest, bad, text):
    with pytest.raises(ValueError, match=text):
        clips(manifest, **bad)


def test_clips_must_have_names_of_their_own(manifest):
    with pytest.raises(ValueError, match="once"):
        clips(concatenate_datasets([manifest, manifest]))


def test_real_clips_with_flow_on_the_fly(shared):
    manifest = from_folder(shared / "data" / "ut_interaction" / "set1").select(range(0, 60, 20))
    data = PairedClips(manifest, train=True, frames=4, fps=10, short_side=48, crop=40, flow=EstimatorSource())
    items = [data[index] for index in range(3)]
    assert all(item["rgb"].shape == (3, 4, 40, 40) for item in items)
    assert max(float(item["flow"].abs().max()) for item in items) > 0.02
