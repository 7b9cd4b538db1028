"""Clips as bytes are, once they are floats again, the clips that were floats all along."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from kdvideo import flow
from kdvideo.data import ClipReader, MultiView, PairedClips, Window, from_folder, multi_crop, read_frames, to_float
from tests.data.videos import gradient, write_video

SIZE = {"fps": 10, "short_side": 48}
VIEW = {"frames": 6, "crop": 40, **SIZE}


class Still:
    """Flow of another form: two pixels to the right, and as fast down as the frame is high."""

    fingerprint = "still"

    def __call__(self, clip: str, frames: torch.Tensor) -> torch.Tensor:
        return torch.tensor([2.0, 48.0])[:, None, None].expand(len(frames) - 1, 2, *frames.shape[-2:])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for name, length in {"a/0.mp4": 12, "b/1.mp4": 4, "b/2.mp4": 1}.items():
        (root / name).parent.mkdir(exist_ok=True)
        write_video(root / name, [gradient().numpy() for _ in range(length)])
    return from_folder(root)


@pytest.fixture(scope="module")
def store(manifest, tmp_path_factory):
    """Flow of every number that a byte may be, and more."""
    made = flow.FlowStore(tmp_path_factory.mktemp("flow"), fps=10)
    generator = torch.Generator().manual_seed(0)
    for clip, length in zip(manifest["clip"], (12, 4, 1), strict=True):
        made.write(clip, 9 * torch.randn(length - 1, 2, 48, 64, generator=generator))
    return made


def pair(manifest, source, **options):
    settings = {**VIEW, "train": True, "flow": source, **options}
    return PairedClips(manifest, **settings), PairedClips(manifest, dtype=torch.uint8, **settings)


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(("source", "kind"), [("store", torch.uint8), ("narrow", torch.half), (Still(), torch.half)])
def test_bytes_become_the_floats(manifest, store, source, kind, in_memory):
    options = {"flow_bound": 10.0} if source == "narrow" else {}
    floats, raw = pair(manifest, store if isinstance(source, str) else source, in_memory=in_memory, **options)
    mirrored = 0
    for epoch in range(8):
        for index in range(3):
            one, other = floats[epoch, index], raw[epoch, index]
            assert (other["rgb"].dtype, other["flow"].dtype) == (torch.uint8, kind if index < 2 else torch.half)
            assert all(other[name].is_contiguous() for name in ("rgb", "flow"))
            found = to_float(other)
            assert found.keys() == one.keys()
            for name in ("rgb", "flow"):
                assert found[name].dtype == torch.float32
                assert torch.equal(found[name], one[name])
            mirrored += bool(one["rgb"][0, 0, 0, 0] > one["rgb"][0, 0, 0, -1])
    assert 0 < mirrored < 24


def test_the_floats_are_those_of_pixels_and_frames(manifest, store):
    window = Window(3, 2, 5, 40, True, 6)
    (view,) = ClipReader(manifest, flow=store, **SIZE).views(0, lambda clip: [window])
    frames = read_frames(manifest[0]["path"], window=range(3, 9), **SIZE)
    cut = lambda values: values[..., 2:42, 5:45].transpose(0, 1).flip(-1)  # noqa: E731
    assert torch.equal(view["rgb"], cut(frames).float() * (2 / 255) - 1)
    pixels = cut(store.read(manifest["clip"][0], start=3, stop=9))
    expected = (flow.to_unit(pixels).half().float()) * torch.tensor([-1.0, 1.0])[:, None, None, None]
    assert torch.equal(view["flow"], expected)


@pytest.mark.parametrize("bound", [0.3, 1.0, 5.0, 17.3, 20.0, 32.0, 511.0])
def test_every_byte_of_flow_is_what_a_store_of_any_bound_gives(bound):
    q = torch.arange(1, 256, dtype=torch.uint8)
    expected = flow.to_unit(flow.dequantize(q, bound), bound).half().float()
    found = to_float({"flow": q})["flow"]
    assert torch.equal(found, expected)
    by_reciprocal = ((q.float() - 128) * (1 / 127)).half().float()  # as some devices divide
    assert torch.equal(by_reciprocal, expected)
    assert torch.equal(to_float({"flow": q.neg()})["flow"], -expected)


def test_a_batch_is_converted_on_its_way_to_the_device(manifest, store):
    floats, raw = pair(manifest, store, input_range=(0.0, 1.0))
    loader = DataLoader(raw, batch_size=2)
    convert = lambda batch: to_float(batch, input_range=(0.0, 1.0))  # noqa: E731
    (batch, _) = flow.prefetch_to_device(loader, convert, device="cpu")
    assert torch.equal(batch["rgb"], torch.stack([floats[k]["rgb"] for k in range(2)]))
    assert torch.equal(batch["flow"], torch.stack([floats[k]["flow"] for k in range(2)]))
    assert batch["clip"] == manifest["clip"][:2]
    assert all(to_float(batch)[name] is batch[name] for name in ("rgb", "flow", "label"))


def test_views_of_a_test_are_bytes_too(manifest, store):
    floats, raw = (MultiView(one, multi_crop) for one in pair(manifest, store, train=False))
    assert raw[0]["rgb"].dtype == raw[0]["flow"].dtype == torch.uint8
    for name in ("rgb", "flow"):
        assert torch.equal(to_float(raw[0])[name], floats[0][name])


def test_a_store_gives_no_byte_without_a_mirror_image(tmp_path: Path, monkeypatch):
    store = flow.FlowStore(tmp_path)
    store.write("clip", torch.zeros(1, 2, 8, 8))
    monkeypatch.setattr("kdvideo.flow.store.sidecars.read", lambda *_: torch.zeros(1, 2, 8, 8, dtype=torch.uint8))
    assert store.read_quantized("clip").unique().tolist() == [1]
    assert store.read("clip").unique().tolist() == [-20]


def test_other_types_are_refused(manifest):
    with pytest.raises(ValueError, match=r"dtype must be torch.float32, or torch.uint8 for `to_float`, got .*float16"):
        PairedClips(manifest, train=True, dtype=torch.half)
