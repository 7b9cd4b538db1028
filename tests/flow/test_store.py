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


def test_round_trip_within_the_quantisation(tmp_path: Path) -> None:
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
    kf.FlowStore(tmp_path, fps=25.0, bound=20.0, estimator=kf.TVL1Estimator(kf.TVL1()), size=(6, 8)).read("clip")


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


@pytest.mark.parametrize("keep", [0, 7, 60, -1])
def test_damaged_file_is_named(tmp_path: Path, keep: int) -> None:
    store = kf.FlowStore(tmp_path)
    store.write("clip", clip_flow())
    path = store.path("clip")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"clip\.flow\.safetensors is not a readable flow file"):
        store.read("clip")


def test_file_of_something_else_is_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    store = kf.FlowStore(tmp_path)
    save_file({"weight": torch.zeros(3)}, store.path("clip"))
    with pytest.raises(ValueError, match="not a readable flow file"):
        store.read("clip")


def test_missing_clip(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="absent"):
        kf.FlowStore(tmp_path).read("absent")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = kf.FlowStore(tmp_path)
    store.write("clip", clip_flow())
    before = store.read("clip")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write("clip", clip_flow() * 0)
    assert torch.equal(store.read("clip"), before)
    assert os.listdir(tmp_path) == ["clip.flow.safetensors"]


def test_store_as_a_source_checks_count_and_size(tmp_path: Path) -> None:
    store = kf.FlowStore(tmp_path)
    store.write("clip", clip_flow(5, 6, 8))
    frames = torch.zeros(6, 3, 6, 8, dtype=torch.uint8)
    assert torch.equal(store("clip", frames), store.read("clip"))
    for other in (frames[:5], frames[..., :7]):
        with pytest.raises(ValueError, match="stored flow of 'clip'"):
            store("clip", other)
