"""The store: round trip, ids, settings, damage, and whole files only."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo import flow as kf

PART = st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


def clip_flow(count: int = 5, height: int = 6, width: int = 8) -> torch.Tensor:
    return torch.randn(count, 2, height, width, generator=torch.Generator().manual_seed(0)) * 15


def smooth_flow(count: int, height: int = 16, width: int = 24) -> torch.Tensor:
    """Flow that video codecs are made for: a slow wave."""
    t, y, x = torch.meshgrid(*(torch.arange(n) / 9 for n in (count, height, width)), indexing="ij")
    return torch.stack([(t / 5 + x).sin() * 9, (t / 5 - y).cos() * 7], 1)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_round_trip_within_the_quantization(tmp_path: Path) -> None:
    store, flow = kf.FlowStore(tmp_path / "new" / "folder", fps=25, bound=20), clip_flow()
    assert "a/b.mp4" not in store
    store.write("a/b.mp4", flow.transpose(-1, -2).contiguous().transpose(-1, -2))
    assert "a/b.mp4" in store
    assert list(store) == ["a/b.mp4"]
    assert torch.equal(store.read("a/b.mp4"), kf.dequantize(kf.quantize(flow)))
    assert torch.equal(store.read("a/b.mp4", start=1, stop=3), store.read("a/b.mp4")[1:3])
    store.write("a/b.mp4", flow[:2])
    assert len(store.read("a/b.mp4")) == 2


@settings(deadline=None, max_examples=40)
@given(parts=st.lists(PART, min_size=1, max_size=3))
def test_any_relative_path_is_an_id(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    folder, clip_id = tmp_path_factory.mktemp("store"), "/".join(parts)
    store = kf.FlowStore(folder)
    if any(part in (".", "..") for part in parts):
        with pytest.raises(ValueError, match="relative path"):
            store.path(clip_id)
        return
    store.write(clip_id, torch.ones(1, 2, 2, 2))
    assert store.path(clip_id).resolve().is_relative_to(folder.resolve())
    assert list(store) == [clip_id]
    assert clip_id in store


@pytest.mark.parametrize("clip_id", ["", "/etc/x", "../x", "a/../../x", "a//b", "a/", "./a", "a\0", "..\\x"])
def test_ids_that_could_escape(tmp_path: Path, clip_id: str) -> None:
    store = kf.FlowStore(tmp_path)
    for use in (store.read, store.__contains__, lambda name: store.write(name, clip_flow())):
        with pytest.raises(ValueError, match="clip id"):
            use(clip_id)


@pytest.mark.parametrize(
    ("other", "found", "wanted"),
    [
        ({"fps": 25}, "30.0", "25.0"),
        ({"bound": 10}, "20.0", "10.0"),
        ({"estimator": kf.TVL1Estimator(kf.FAST)}, "warps=5", "warps=3"),
        ({"size": (6, 9)}, r"\(6, 8\)", r"\(6, 9\)"),
    ],
)
def test_other_settings_are_refused_and_both_named(
    tmp_path: Path, other: dict[str, object], found: str, wanted: str
) -> None:
    kf.FlowStore(tmp_path, fps=30, size=(6, 8)).write("clip", clip_flow())
    store = kf.FlowStore(tmp_path, **{"fps": 30} | other)
    with pytest.raises(ValueError, match=f"'clip' has {next(iter(other))} .*{found}.* expects .*{wanted}"):
        store.read("clip")


def test_equal_settings_are_accepted(tmp_path: Path) -> None:
    kf.FlowStore(tmp_path, fps=25, bound=20, estimator=kf.TVL1Estimator(replace(kf.DEFAULT))).write("clip", clip_flow())
    same = kf.TVL1Estimator(kf.TVL1Settings())
    kf.FlowStore(tmp_path, fps=25.0, bound=20.0, estimator=same, size=(6, 8)).read("clip")


def test_wrong_flow_is_not_written(tmp_path: Path) -> None:
    store = kf.FlowStore(tmp_path, size=(6, 8))
    for flow, message in (
        (clip_flow()[0], r"\(T-1,2,H,W\)"),
        (clip_flow()[:, :1], r"\(...,2,H,W\)"),
        (clip_flow(width=9), r"size \(6, 9\)"),
        (clip_flow() * float("nan"), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            store.write("clip", flow)
    assert not any(tmp_path.iterdir())


CODECS = [kf.LOSSLESS, kf.GrayFFV1(), kf.NEAR_LOSSLESS, kf.UNCOMPRESSED]


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize(("count", "height", "width"), [(1, 1, 1), (3, 8, 8), (70, 5, 7), (9, 33, 16)])
def test_codecs(tmp_path: Path, codec: kf.FlowCodec, count: int, height: int, width: int) -> None:
    flow = smooth_flow(count, height, width)
    for name in ("one", "two"):
        kf.FlowStore(tmp_path / name, codec=codec).write("clip", flow)
    store = kf.FlowStore(tmp_path / "one")  # the codec is that of the sidecar
    whole = store.read("clip")
    assert (whole - flow).abs().max() <= (1.5 if codec == kf.NEAR_LOSSLESS else 20 / 254 + 1e-5)
    for start, stop in ((0, 1), (count - 1, count), (count // 3, None), (count // 2, count), (-2, None), (5, 3)):
        assert torch.equal(store.read("clip", start=start, stop=stop), whole[start:stop])
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert set(files(tmp_path / "one")) == {"clip.flow.json", "clip.flow" + codec.suffix}


def test_pieces_give_the_same_bytes(tmp_path: Path) -> None:
    flow = smooth_flow(20)
    for codec in CODECS:
        kf.FlowStore(tmp_path / "one", codec=codec).write("clip", flow)
        with kf.FlowStore(tmp_path / "two", codec=codec).writer("clip", flows=20, size=(16, 24)) as add:
            for piece in flow.split((1, 7, 12)):
                add(piece)
        assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_writer_checks_the_number_and_size_of_its_flow(tmp_path: Path) -> None:
    store = kf.FlowStore(tmp_path, size=(6, 8))
    for flows, piece, message in (
        (4, clip_flow(5), "must have 4 flows, got 5"),
        (6, clip_flow(5), "must have 6 flows, got 5"),
        (5, clip_flow(5, width=9), r"must be \(N,2,6,8\), got \(5, 2, 6, 9\)"),
    ):
        with pytest.raises(ValueError, match=message), store.writer("clip", flows=flows, size=(6, 8)) as add:
            add(piece)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_a_clip_of_one_frame_has_no_flow(tmp_path: Path, codec: kf.FlowCodec) -> None:
    store = kf.FlowStore(tmp_path, codec=codec)
    store.write("clip", torch.zeros(0, 2, 6, 8))
    assert store.read("clip").shape == (0, 2, 6, 8)
    assert store("clip", torch.zeros(1, 3, 6, 8, dtype=torch.uint8)).shape == (0, 2, 6, 8)
    info = store.info("clip")
    assert info is not None
    assert (info["frames"], info["flows"]) == (1, 0)


@pytest.mark.parametrize("codec", CODECS, ids=str)
@pytest.mark.parametrize("keep", [0, 7, 60, -1])
def test_truncated_file_is_named(tmp_path: Path, codec: kf.FlowCodec, keep: int) -> None:
    store = kf.FlowStore(tmp_path, codec=codec)
    store.write("clip", clip_flow())
    path = store.path("clip")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"clip\.flow\{codec.suffix} is not a readable flow file: it has"):
        store.read("clip")
    path.unlink()
    with pytest.raises(ValueError, match=rf"clip\.flow\{codec.suffix} is not a readable flow file: it is missing"):
        store.read("clip")


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_a_flipped_bit_never_gives_other_flow(tmp_path: Path, codec: kf.FlowCodec) -> None:
    store = kf.FlowStore(tmp_path, codec=codec)
    store.write("clip", smooth_flow(9))
    whole, path = store.read("clip"), store.path("clip")
    good, messages = path.read_bytes(), []
    for at in range(3, len(good), max(len(good) // 60, 1)):
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
        try:
            found = store.read("clip")
        except ValueError as error:
            messages.append(str(error))
        else:
            assert torch.equal(found, whole)
    assert len(messages) > 10
    assert all(str(path) in message for message in messages)


SIDECAR = (
    '{"status": "done", "frames": 3, "flows": 2, "size": [6, 8], "file": "clip.flow.mkv", "bytes": 1, '
    '"sha256": "", "crc32": [1, 2], "bound": 20.0, "fps": null, "estimator": "TVL1()"}'
)


def test_that_sidecar_is_well_formed(tmp_path: Path) -> None:
    store = kf.FlowStore(tmp_path)
    store.sidecar("clip").write_text(SIDECAR)
    assert "clip" in store


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"status": "perhaps"}',
        '{"status": "done"}',
        SIDECAR.replace("[6, 8]", "[600000, 800000]"),
        SIDECAR.replace("[6, 8]", "[6, 8.0]"),
        SIDECAR.replace("[6, 8]", "[-6, -8]"),
        SIDECAR.replace('"bytes": 1', '"bytes": "1"'),
        '{"status": "failed"}',
        SIDECAR.replace('"frames": 3', '"frames": 9'),
        SIDECAR.replace("[1, 2]", "[1]"),
        SIDECAR.replace("clip.flow.mkv", "clip.flow.d/../../x"),
        SIDECAR.replace("clip.flow.mkv", "../clip.flow.mkv"),
        SIDECAR.replace("clip.flow.mkv", "other.flow.mkv"),
        "[" * 100_000,
    ],
)
def test_damaged_sidecar_is_named_and_the_clip_can_be_made_anew(tmp_path: Path, text: str) -> None:
    store = kf.FlowStore(tmp_path)
    store.sidecar("clip").write_text(text)
    with pytest.raises(ValueError, match=r"clip\.flow\.json is not a readable sidecar"):
        store.read("clip")
    assert "clip" not in store
    assert list(store) == []
    store.write("clip", clip_flow())
    assert list(store) == ["clip"]


@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 330), data=st.binary(max_size=3), cut=st.integers(0, 3))
def test_any_damage_of_a_sidecar_is_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, at: int, data: bytes, cut: int
) -> None:
    store = kf.FlowStore(tmp_path_factory.getbasetemp() / "fuzzed")
    if "clip" not in store:
        store.write("clip", clip_flow())
    path = store.sidecar("clip")
    good, whole = path.read_bytes(), store.read("clip")
    path.write_bytes(good[:at] + data + good[at + cut :])
    try:
        assert torch.equal(store.read("clip"), whole)
    except ValueError:
        pass
    finally:
        path.write_bytes(good)


def test_every_clip_has_one_status(tmp_path: Path) -> None:
    store, raw = kf.FlowStore(tmp_path), kf.FlowStore(tmp_path, codec=kf.UNCOMPRESSED)
    store.fail("clip", "the file is empty")
    assert store.info("clip") == {"status": "failed", "reason": "the file is empty"}
    assert "clip" not in store
    assert list(store) == []
    with pytest.raises(ValueError, match=r"'clip' could not be made: the file is empty"):
        store.read("clip")
    store.write("clip", clip_flow())
    assert set(files(tmp_path)) == {"clip.flow.json", "clip.flow.zst"}
    raw.write("clip", clip_flow())
    assert set(files(tmp_path)) == {"clip.flow.json", "clip.flow.safetensors"}
    store.fail("clip", "gone")
    assert set(files(tmp_path)) == {"clip.flow.json"}
    assert store.info("other") is None


def test_flow_without_a_sidecar_is_not_in_the_store(tmp_path: Path) -> None:
    store = kf.FlowStore(tmp_path)
    store.write("clip", clip_flow())
    store.sidecar("clip").unlink()
    assert "clip" not in store
    assert list(store) == []


def test_missing_clip(tmp_path: Path) -> None:
    """Fails when the message names neither the clip that is asked for nor those that the store has."""
    store = kf.FlowStore(tmp_path)
    with pytest.raises(KeyError, match=r"'run/1\.avi' in .*no file \*\.flow\.json"):
        store.read("run/1.avi")
    store.write("run/1", clip_flow())
    with pytest.raises(KeyError, match=r"'run/1\.avi' in .*the closest ids there are \['run/1'\]"):
        store.read("run/1.avi")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("at", range(5))
def test_a_failed_write_leaves_no_wrong_flow_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, at: int
) -> None:
    store = kf.FlowStore(tmp_path)
    store.write("clip", clip_flow())
    before, calls = store.read("clip"), 0
    real = getattr(os, call)

    def full(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > at:
            raise OSError(28, "No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        if at < {"fsync": 4, "replace": 2}[call]:
            with pytest.raises(OSError, match="No space"):
                store.write("clip", clip_flow() * 0)
        else:
            store.write("clip", clip_flow() * 0)
    if call == "fsync" and at < 2:  # the disk is full: the old flow is still there
        assert torch.equal(store.read("clip"), before)
    elif "clip" in store:
        assert store.read("clip").eq(0).all()
    assert not any(name.startswith(".writing") for name in files(tmp_path))
    store.write("clip", clip_flow() * 0)
    assert store.read("clip").eq(0).all()


def test_store_as_a_source_checks_count_and_size(tmp_path: Path) -> None:
    store = kf.FlowStore(tmp_path)
    store.write("clip", clip_flow(5, 6, 8))
    frames = torch.zeros(6, 3, 6, 8, dtype=torch.uint8)
    assert torch.equal(store("clip", frames), store.read("clip"))
    for other in (frames[:5], frames[..., :7]):
        with pytest.raises(ValueError, match="stored flow of 'clip'"):
            store("clip", other)
