"""Extraction in one process: statuses, starting again, other settings, and what may not be touched."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch

import kdvideo.files
from kdvideo import data, models
from kdvideo import flow as kf
from kdvideo.extraction import ExtractionError, extract, extract_features, flow_job, prepare
from kdvideo.files import remove_abandoned, temporary, write_atomic
from kdvideo.flow.store import flow_store
from tests.extraction.fakes import Fake, clips, files, row, store, write_clip

SIDE = 48


def lines(log: Path) -> list[str]:
    return sorted(log.read_text().split()) if log.exists() else []


def test_every_clip_is_done_or_failed(tmp_path: Path) -> None:
    rows = clips(tmp_path / "videos")
    (tmp_path / "videos" / "text.mp4").write_text("<html>404</html>")
    (tmp_path / "videos" / "empty.mp4").touch()
    for name, first in (("one.mp4", 90), ("nan.mp4", 100), ("error.mp4", 110)):
        write_clip(tmp_path / "videos" / name, first, 1 if name == "one.mp4" else 5)
    names = ["text.mp4", "empty.mp4", "gone.mp4", "one.mp4", "nan.mp4", "error.mp4"]
    rows = [row(tmp_path / "videos", name) for name in names] + rows
    place = store(tmp_path / "flow", estimator=Fake({100: "nan", 110: "error"}))
    summary = extract(rows, place, short_side=SIDE)
    assert summary.failed == {
        "text.mp4": "not a video but text, beginning with '<html>404</html>'",
        "empty.mp4": "the file is empty",
        "gone.mp4": "no such file",
        "nan.mp4": "flow has a component that is NaN or infinite",
        "error.mp4": "RuntimeError: no such texture",
    }
    assert (summary.done, summary.new, summary.frames - summary.flows) == (5, 10, 5)
    for listed in rows:
        info = place.info(listed["clip"])
        assert info is not None
        if info["status"] == "done":
            frames = data.read_frames(listed["path"], fps=10, short_side=SIDE)
            assert info["frames"] == len(frames)
            expected = Fake()(frames) if len(frames) > 1 else torch.zeros(0, 2, 48, 64)
            assert torch.allclose(place(listed["clip"], frames), expected, atol=20 / 254 + 1e-5)
        else:
            assert (info["status"], info["reason"]) == ("failed", summary.failed[listed["clip"]])
    assert not any(".writing" in name for name in files(tmp_path / "flow"))
    assert str(tmp_path).encode() not in b"".join(files(tmp_path / "flow").values())


def test_summary_says_what_failed(tmp_path: Path) -> None:
    rows = [*clips(tmp_path, 1), *(row(tmp_path, f"{i}.mp4") for i in range(5))]
    text = str(extract(rows, store(tmp_path / "flow"), short_side=SIDE))
    assert text == "1 clips done (4 flows), 5 failed\n  5 x no such file: 0.mp4, 1.mp4, 2.mp4 and 2 more"


def test_long_clips_go_through_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = clips(tmp_path, 2, frames=23)
    extract(rows, store(tmp_path / "whole", estimator=Fake(log=str(tmp_path / "log1"))), short_side=SIDE)
    monkeypatch.setattr(flow_job, "FRAME_BYTES", 3 * 48 * 64 * 8)
    monkeypatch.setattr(flow_job, "PAIRS", 3)
    extract(rows, store(tmp_path / "pieces", estimator=Fake(log=str(tmp_path / "log2"))), short_side=SIDE)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")
    assert len(lines(tmp_path / "log1")) == 2
    assert len(lines(tmp_path / "log2")) == 2 * (3 * 3 + 1)


def test_workers_make_the_same_bytes(tmp_path: Path) -> None:
    rows = [*clips(tmp_path, 3), row(tmp_path, "gone.mp4")]
    one = extract(rows, store(tmp_path / "one"), short_side=SIDE)
    two = extract(rows, store(tmp_path / "two"), short_side=SIDE, workers=2, deadline=60.0)
    assert two == one
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_started_again_it_does_only_what_is_left(tmp_path: Path) -> None:
    rows, log = clips(tmp_path, 3), tmp_path / "log"
    rows.append(row(tmp_path, "late.mp4"))
    place = store(tmp_path / "flow", estimator=Fake(log=str(log)))
    assert extract(rows[:2], place, short_side=SIDE).done == 2
    assert extract(rows, place, short_side=SIDE).failed == {"late.mp4": "no such file"}
    before = files(tmp_path / "flow")
    again = extract(rows, place, short_side=SIDE)
    assert (again.new, again.done, len(again.failed)) == (0, 3, 1)
    assert files(tmp_path / "flow") == before
    assert extract(rows, place, short_side=SIDE, retry_failed=True).new == 1
    write_clip(tmp_path / "late.mp4", 200)
    with pytest.warns(UserWarning, match="there was none, and now it has"):
        last = extract(rows, place, short_side=SIDE)
    assert (last.new, last.done, last.failed) == (1, 4, {})
    assert lines(log) == ["10", "20", "200", "30"]


@pytest.mark.parametrize("damage", ["sidecar", "truncated", "missing"])
def test_damaged_clips_are_made_anew(tmp_path: Path, damage: str) -> None:
    rows, place = clips(tmp_path, 2), store(tmp_path / "flow")
    extract(rows, place, short_side=SIDE)
    before = files(tmp_path / "flow")
    sidecar, path = place.sidecar("a/clip000.mp4"), place.path("a/clip000.mp4")
    if damage == "sidecar":
        sidecar.write_bytes(sidecar.read_bytes()[:50])
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    assert extract(rows, place, short_side=SIDE).new == 1
    assert files(tmp_path / "flow") == before


@pytest.mark.parametrize(
    ("other", "side", "message"),
    [
        ({"bound": 10}, SIDE, "bound is 20.0 there, 10.0 here"),
        ({"fps": 5}, SIDE, "fps is 10.0 there, 5.0 here"),
        ({"codec": kf.UNCOMPRESSED}, SIDE, r"codec is 'Zstd\(level=9\)' there, 'Raw\(\)' here"),
        ({"estimator": kf.TVL1Estimator()}, SIDE, r"estimator is 'Fake\(\)' there, .TVL1\("),
        ({}, 32, "short_side is 48 there, 32 here"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, other: dict[str, object], side: int, message: str) -> None:
    rows = clips(tmp_path, 1)
    extract(rows, store(tmp_path / "flow"), short_side=SIDE)
    before = files(tmp_path / "flow")
    with pytest.raises(ValueError, match=f"holds flow of other settings.*{message}"):
        extract(rows, store(tmp_path / "flow", **other), short_side=side)
    assert files(tmp_path / "flow") == before


def test_flow_of_other_settings_in_a_folder_that_no_extraction_made(tmp_path: Path) -> None:
    rows = clips(tmp_path, 1)
    kf.FlowStore(tmp_path / "flow", fps=25).write(rows[0]["clip"], torch.zeros(3, 2, 8, 8))
    with pytest.raises(ValueError, match="has estimator TVL1"):
        extract(rows, store(tmp_path / "flow", fps=25), short_side=SIDE)


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow" / "extraction.json").write_text("[1")
    with pytest.raises(ValueError, match=r"extraction\.json is damaged"):
        extract(clips(tmp_path, 1), store(tmp_path / "flow"), short_side=SIDE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers must be at least 0"),
        ({"workers": "2"}, "workers must be at least 0, got '2'"),
        ({"worker": 2}, r"options must be among \['workers', .*'progress'\], got \['worker'\]: see Running"),
        ({"devices": "cpu"}, r"devices must be a tuple of names, got 'cpu': \('cpu',\)"),
        ({"shard": 2}, r"shard must be \(i, n\) with i in 1..n, got 2"),
        ({"devices": ()}, "devices"),
        ({"deadline": -1.0}, "deadline must be a positive number"),
        ({"shard": (0, 2)}, r"shard must be \(i, n\) with i in 1..n, got \(0, 2\)"),
        ({"shard": (3, 2)}, "shard must be"),
        ({"short_side": 0}, "short_side must be at least 1"),
    ],
)
def test_bad_arguments(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extract([], store(tmp_path / "flow"), **options)
    assert not (tmp_path / "flow").exists()


def test_folders_in_the_place_of_clips_and_store_are_named(tmp_path: Path) -> None:
    """Fails when they are not looked at: the letters of the path are taken for clips."""
    for function in (extract, prepare, extract_features):
        where = store(tmp_path / "flow") if function is extract else tmp_path / "flow"
        more = {"weights": models.i3d(2, depth_multiplier=0.125, min_depth=8)} if function is extract_features else {}
        with pytest.raises(ValueError, match=r"manifest must be rows of clips, got 'videos': .*clips_of\(folder\)"):
            function("videos", where, **more)
    with pytest.raises(ValueError, match=r"store must be a FlowStore, got a str: kdvideo.flow.FlowStore\(folder\)"):
        extract([], "flow")
    assert not (tmp_path / "flow").exists()


def test_ids_must_be_unique_relative_paths(tmp_path: Path) -> None:
    for rows, message in (
        ([row(tmp_path, "a.mp4"), row(tmp_path, "a.mp4")], "got 'a.mp4' again"),
        ([row(tmp_path, "../a.mp4")], "relative path"),
    ):
        with pytest.raises(ValueError, match=message):
            extract(rows, store(tmp_path / "flow"))
    assert not (tmp_path / "flow").exists()


def test_an_estimator_that_cannot_run_is_no_fault_of_the_clips(tmp_path: Path) -> None:
    class Broken(Fake):
        def __call__(self, *_: object, **__: object) -> torch.Tensor:
            raise ImportError("no module named cv2")

    with pytest.raises(ValueError, match="does not run on cpu: ImportError: no module named cv2"):
        extract(clips(tmp_path, 1), store(tmp_path / "flow", estimator=Broken()), short_side=SIDE)
    assert not (tmp_path / "flow").exists()


@pytest.mark.parametrize("at", [1, 2, 5, 9, 10])
def test_a_full_disk_stops_the_job_and_is_no_fault_of_the_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    rows = [*clips(tmp_path, 2), row(tmp_path, "gone.mp4")]
    extract(rows, store(tmp_path / "whole"), short_side=SIDE)
    real, calls = os.fsync, 0

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls > at:
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ExtractionError, match="flow cannot be written: No space left on device"):
            extract(rows, store(tmp_path / "flow"), short_side=SIDE)
    left = files(tmp_path / "flow")
    assert not any(".writing" in name for name in left)
    assert not any(b"space" in value for value in left.values())
    extract(rows, store(tmp_path / "flow"), short_side=SIDE)
    assert files(tmp_path / "flow") == files(tmp_path / "whole")


def test_a_device_without_memory_stops_the_job_and_is_no_fault_of_the_clips(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match="cpu is out of memory: use fewer workers"):
        extract(clips(tmp_path, 3), store(tmp_path / "flow", estimator=Fake({20: "memory"})), short_side=SIDE)
    assert [p.name for p in (tmp_path / "flow").rglob("*.json")] == ["extraction.json", "clip000.mp4.flow.json"]


def test_interrupted_it_leaves_nothing_half_done(tmp_path: Path) -> None:
    rows = clips(tmp_path, 3)
    extract(rows, store(tmp_path / "whole"), short_side=SIDE)
    with pytest.raises(KeyboardInterrupt):
        extract(rows, store(tmp_path / "flow", estimator=Fake({20: "interrupt"})), short_side=SIDE)
    assert list(store(tmp_path / "flow")) == ["a/clip000.mp4"]
    assert not any(".writing" in name for name in files(tmp_path / "flow"))
    extract(rows, store(tmp_path / "flow"), short_side=SIDE)
    assert files(tmp_path / "flow") == files(tmp_path / "whole")


def test_leftovers_go_but_not_what_is_being_written(tmp_path: Path) -> None:
    """Fails when `remove_abandoned` does not ask for the lock of a file, or `temporary` takes none."""
    rows, folder = clips(tmp_path, 1), tmp_path / "flow"
    with temporary(folder / "a") as file:
        (folder / "a" / ".writing-0").touch()
        extract(rows, store(folder), short_side=SIDE)
        assert [p.name for p in (folder / "a").glob(".writing*")] == [Path(file.name).name]
    assert not list((folder / "a").glob(".writing*"))


def test_a_file_that_is_taken_for_abandoned_before_it_is_locked_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when `temporary` does not look whether its file still has a name."""
    real, calls = kdvideo.files._lock, []

    def late(file: int, *, wait: bool) -> bool:
        if not calls:
            calls.append(file)
            remove_abandoned(tmp_path.glob(".writing*"))
        return real(file, wait=wait)

    monkeypatch.setattr(kdvideo.files, "_lock", late)
    write_atomic(tmp_path / "file", b"bytes")
    assert files(tmp_path) == {"file": b"bytes"}
    assert calls


def test_what_another_process_finished_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when `Job.run` or `Job.record_failure` does not ask for the outcome once more."""
    rows, log, place = clips(tmp_path, 2), tmp_path / "log", store(tmp_path / "flow")
    extract(rows[:1], place, short_side=SIDE)
    known, asked = flow_job.FlowJob.known_outcome, Counter()

    def late(self: flow_job.FlowJob, row: dict[str, str]) -> object:
        asked[row["clip"]] += 1
        if row is not rows[0] and asked[rows[1]["clip"]] == 3:  # made by another while it failed here
            extract_known(rows[1:], place, short_side=SIDE)
        return known(self, row) if asked[row["clip"]] > 1 else None

    def extract_known(*arguments: object, **options: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(flow_job.FlowJob, "known_outcome", known)
            extract(*arguments, **options)

    monkeypatch.setattr(flow_job.FlowJob, "known_outcome", late)
    broken = store(tmp_path / "flow", estimator=Fake({20: "error"}, log=str(log)))
    result = extract(rows, broken, short_side=SIDE)
    assert (result.new, result.done, result.failed) == (0, 2, {})
    assert lines(log) == ["20"]


def test_flow_is_never_without_its_sidecar_while_another_process_writes_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when `FlowStore.writer` removes the sidecar of the same file, or the file, before it replaces them."""
    place, flow = store(tmp_path / "flow"), torch.zeros(3, 2, 8, 8)
    place.write("clip", flow)
    seen, real = [], flow_store.publish

    def publish(file: object, path: Path) -> None:
        seen.append(sorted(name for name in files(tmp_path / "flow") if ".writing" not in name))
        real(file, path)

    monkeypatch.setattr(flow_store, "publish", publish)
    place.write("clip", flow)
    assert seen == [["clip.flow.json", "clip.flow.zst"]] * 2


@pytest.mark.parametrize("count", [1, 3, 7])
def test_shards_cover_the_list_exactly_once(tmp_path: Path, count: int) -> None:
    """Fails when `rows[i - 1 :: n]` begins elsewhere."""
    rows = clips(tmp_path, 5)
    extract(rows, store(tmp_path / "whole"), short_side=SIDE)
    made = []
    for shard in range(1, count + 1):
        result = extract(rows, store(tmp_path / "flow"), short_side=SIDE, shard=(shard, count))
        made.append(result.new)
        assert extract(rows, store(tmp_path / "flow"), short_side=SIDE, shard=(shard, count)).new == 0
    assert made == [len(rows[i::count]) for i in range(count)]
    assert files(tmp_path / "flow") == files(tmp_path / "whole")


def test_settings_hold_no_time_and_no_place(tmp_path: Path) -> None:
    extract(clips(tmp_path, 1), store(tmp_path / "flow"), short_side=SIDE)
    assert json.loads((tmp_path / "flow" / "extraction.json").read_text()) == {
        "bound": 20.0,
        "fps": 10,
        "short_side": SIDE,
        "size": None,
        "codec": "Zstd(level=9)",
        "estimator": "Fake()",
    }
