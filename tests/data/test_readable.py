"""A clip that cannot be read costs a training one view, and a test everything."""

from __future__ import annotations

import errno
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from kdvideo.data import ClipError, MultiView, PairedClips, ReadableClips, from_folder, probe, read_frames, single_pass
from kdvideo.data.video import container, retrying
from kdvideo.flow import FlowStore
from tests.data.videos import picture, write_video

COUNT, SIZE = 8, {"frames": 4, "fps": 10, "short_side": 48, "crop": 40}
BAD = (2, 3, 7)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    for i in range(COUNT):
        path = root / "ab"[i % 2] / f"{i}.mp4"
        path.parent.mkdir(exist_ok=True)
        write_video(path, [picture(20 * i + k) for k in range(9)])
    return root


@pytest.fixture
def manifest(good: Path, tmp_path: Path) -> Dataset:
    root = shutil.copytree(good, tmp_path / "clips")
    found = from_folder(root)
    for number in BAD:
        Path(found[number]["path"]).write_bytes(b"<html>404</html>")
    return found


def views(manifest: Dataset, **options: Any) -> PairedClips:
    return PairedClips(manifest, **{"train": True} | SIZE | options)


def quiet(clips: ReadableClips, order: Any, **loading: Any) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(DataLoader(clips, batch_size=None, sampler=order, **loading))


@pytest.mark.reliability("B7")
def test_the_next_readable_clip_takes_the_place_and_says_so(manifest: Dataset) -> None:
    """Fails when `ReadableClips` does not begin anew at the first clip after the last."""
    clips = views(manifest)
    items = quiet(ReadableClips(clips, most=0.5), range(COUNT))
    assert [item["index"] for item in items] == [0, 1, 4, 4, 4, 5, 6, 0]
    for item in items:
        own = clips[item["index"]]
        assert own.keys() == item.keys()
        assert all(torch.equal(torch.as_tensor(own[k]), torch.as_tensor(item[k])) for k in own if k != "clip")
        assert item["clip"] == manifest[item["index"]]["clip"]


@pytest.mark.reliability("B7", "B8")
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_change_no_byte_and_count_together(manifest: Dataset, workers: int) -> None:
    """Fails when the flags of `ReadableClips` are not in shared memory."""
    order = [(epoch, i) for epoch in range(2) for i in (5, 2, 7, 0, 3, 1, 4, 6)]
    clips = ReadableClips(views(manifest, seed=3), most=0.5)
    expected = quiet(ReadableClips(views(manifest, seed=3), most=0.5), order)
    found = quiet(clips, order, num_workers=workers)
    assert [item["clip"] for item in found] == [item["clip"] for item in expected]
    assert all(torch.equal(a["rgb"], b["rgb"]) for a, b in zip(found, expected, strict=True))
    assert clips.unreadable.nonzero().flatten().tolist() == list(BAD)
    assert clips.names() == [manifest[i]["clip"] for i in BAD]


@pytest.mark.reliability("B7")
def test_another_epoch_shows_another_view_of_the_substitute(manifest: Dataset) -> None:
    """Fails when `ReadableClips` leaves the epoch out."""
    clips = ReadableClips(views(manifest), most=0.5)
    one, two = quiet(clips, [(0, 2), (1, 2)])
    assert (one["index"], two["index"], one["view"], two["view"]) == (4, 4, 0, 1)
    assert not torch.equal(one["rgb"], two["rgb"])


def test_each_reason_is_told_once(manifest: Dataset) -> None:
    clips = ReadableClips(views(manifest), most=0.5)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(3):
            assert clips[2]["index"] == 4
    texts = [str(one.message) for one in found]
    assert [text.split(": ")[0] for text in texts] == [manifest[i]["path"] for i in (2, 3)]
    assert "not a video but text" in texts[0]
    assert texts[1].endswith("the next clip takes its place (2 of 8 clips are unreadable)")


@pytest.mark.reliability("B7")
def test_more_than_allowed_is_an_error_that_names_them(manifest: Dataset) -> None:
    """Fails when `ReadableClips.mark` does not compare the count."""
    clips = ReadableClips(views(manifest), most=2 / 8)
    quiet(clips, [2])
    with pytest.raises(
        ClipError, match=r"a/4\.mp4, a/6\.mp4, b/7\.mp4: 3 of 8 clips cannot be read, more than 25\.00%.*not a video"
    ):
        quiet(clips, [7])
    others = ReadableClips(views(manifest), most=2 / 8)
    quiet(others, [2])
    with pytest.raises(ClipError, match=r"3 of 8 clips cannot be read.*in all processes together"):
        others.mark(torch.arange(COUNT) == 0)
    everything = ReadableClips(views(manifest.select(BAD)), most=1.0)
    with pytest.raises(ClipError, match="none can be read"):
        quiet(everything, [0])


def test_a_clip_that_comes_back_is_shown_again(manifest: Dataset, good: Path) -> None:
    clips = ReadableClips(views(manifest), most=0.5)
    quiet(clips, [2])
    path = Path(manifest[2]["path"])
    shutil.copy(good / path.parent.name / path.name, path)
    assert clips[2]["index"] == 2


def test_flow_that_could_not_be_made_is_an_unreadable_clip(good: Path, tmp_path: Path) -> None:
    manifest, store = from_folder(good), FlowStore(tmp_path / "flow", fps=10)
    for i, clip in enumerate(manifest["clip"][:]):
        if i == 1:
            store.fail(clip, "the frame at 0.30 s cannot be decoded")
        else:
            store.write(clip, torch.zeros(8, 2, 48, 64))
    clips = ReadableClips(views(manifest, flow=store, rgb=False), most=0.5)
    assert [item["index"] for item in quiet(clips, [0, 1, 2])] == [0, 2, 2]


def test_an_index_out_of_range_is_no_unreadable_clip(manifest: Dataset) -> None:
    clips = ReadableClips(views(manifest), most=0.5)
    for wrong in (-1, COUNT, (0, COUNT)):
        with pytest.raises(IndexError):
            clips[wrong]


@pytest.mark.reliability("B7")
def test_tests_substitute_nothing(manifest: Dataset) -> None:
    """Fails when `ReadableClips` takes the clips of a test."""
    clips = views(manifest, train=False)
    with pytest.raises(ValueError, match="clips must be training views"):
        ReadableClips(clips, most=0.5)
    with pytest.raises(ValueError, match="most must be a fraction"):
        ReadableClips(views(manifest), most=5)
    for test in (clips, MultiView(clips, single_pass)):
        with pytest.raises(ClipError):
            test[2]


@pytest.mark.parametrize("read", [probe, read_frames])
@pytest.mark.reliability("B11")
@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("where", ["stat", "open"])
def test_a_disk_that_is_away_for_a_moment_is_waited_for(
    good: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object], code: int, where: str
) -> None:
    """Fails when an error is taken out of `TRANSIENT`."""
    container.file_timeline.cache_clear()
    failures, pauses = [code, code], []
    real = {"stat": container.os.stat, "open": av.open}[where]

    def flaky(path: Any, *args: Any, **kwargs: Any) -> Any:
        if failures and str(path).endswith("0.mp4"):
            raise OSError(failures.pop(), "away")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(retrying.time, "sleep", pauses.append)
    monkeypatch.setattr(container.os if where == "stat" else container.av, where, flaky)
    read(good / "a" / "0.mp4")
    assert pauses == [0.1, 0.4]
    failures += [code] * 9
    container.file_timeline.cache_clear()
    with pytest.raises(ClipError, match="away"):
        read(good / "a" / "0.mp4")
    assert pauses[2:] == [0.1, 0.4, 1.6]


@pytest.mark.reliability("B11")
@pytest.mark.parametrize("suffix", [".flow.json", ".zst"])
def test_so_is_one_with_stored_flow(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Fails when `_check_count` or `_flow` is not retried, or `retried` looks at `ClipError` alone."""
    manifest, store = from_folder(good), FlowStore(tmp_path / "flow", fps=10)
    store.write(manifest["clip"][0], torch.zeros(8, 2, 48, 64))
    failures, pauses, real = [errno.EIO] * 2, [], open

    def flaky(path: Any, *args: Any, **kwargs: Any) -> Any:
        if failures and str(path).endswith(suffix):
            raise OSError(failures.pop(), "away")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(retrying.time, "sleep", pauses.append)
    monkeypatch.setattr("builtins.open", flaky)
    assert not views(manifest, flow=store, rgb=False)[0]["flow"].any()
    assert pauses == [0.1, 0.4]


@pytest.mark.reliability("B11")
def test_a_missing_or_damaged_file_is_not_waited_for(manifest: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when `retried` waits after every `ClipError`, or `TRANSIENT` holds ENOENT."""
    pauses: list[float] = []
    monkeypatch.setattr(retrying.time, "sleep", pauses.append)
    for path in (manifest[2]["path"], manifest[2]["path"] + ".gone"):
        with pytest.raises(ClipError):
            probe(path)
    assert pauses == []
