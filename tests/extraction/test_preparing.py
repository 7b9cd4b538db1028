"""`kdvideo prepare`: small videos with the frames of the originals, from which trainings read."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from kdvideo import data
from kdvideo.cli import main
from kdvideo.data.manifests.scanning import file_sizes
from kdvideo.extraction import ExtractionError, clips_of, prepare, preparing
from tests.data.videos import numbers, picture, write_audio, write_video
from tests.extraction.fakes import clips, files, row, write_clip

ROOT = Path(__file__).parents[2]
SIZE = {"short_side": 48, "fps": 10}
SMALL = ["--short-side", "48", "--fps", "10", "--workers", "0"]
KINETICS = "label,youtube_id,time_start,time_end,split\n"


def labelled(rows: list[dict[str, object]], label: str = "run") -> list[dict[str, object]]:
    return [one | {"label": label} for one in rows]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def psnr(one: Tensor, other: Tensor) -> float:
    error = (one.double() - other.double()).square().mean()
    return float(10 * torch.log10(255**2 / error))


def test_every_clip_is_done_or_failed_and_listed(tmp_path: Path) -> None:
    rows = labelled(clips(tmp_path / "videos", 3))
    (tmp_path / "videos" / "text.mp4").write_text("<html>404</html>")
    rows += labelled([row(tmp_path / "videos", "text.mp4"), row(tmp_path / "videos", "gone.mp4")], "sit")
    out = tmp_path / "out"
    result = prepare(rows, out, **SIZE)
    reasons = {"text.mp4": "not a video but text, beginning with '<html>404</html>'", "gone.mp4": "no such file"}
    assert (result.done, result.new, result.failed) == (3, 5, reasons)
    assert str(result).startswith("3 clips done (0 MB), 2 failed\n  1 x no such file: gone.mp4")
    manifest = data.from_csv(out / "clips.csv")
    assert manifest["clip"][:] == [one["clip"] for one in rows[:3]]
    assert manifest.features["label"].names == ["run"]
    with open(out / "clips_failed.csv", newline="") as stream:
        assert list(csv.reader(stream)) == [["clip", "reason"], *map(list, sorted(reasons.items()))]
    for one in rows[:3]:
        frames = data.read_frames(out / str(one["clip"]), fps=10, short_side=48)
        assert numbers(frames) == numbers(data.read_frames(str(one["path"]), fps=10, short_side=48))
    assert not any(".writing" in name for name in files(out))


def test_the_same_command_continues_and_repeats_no_work(tmp_path: Path) -> None:
    rows, out = labelled([*clips(tmp_path, 3), row(tmp_path, "late.mp4")]), tmp_path / "out"
    assert prepare(rows[:2], out, **SIZE).new == 2
    assert prepare(rows, out, **SIZE).new == 2
    before = files(out)
    assert prepare(rows, out, **SIZE).new == 0
    assert files(out) == before
    write_clip(tmp_path / "late.mp4", 200)
    (out / "a" / "clip000.mp4").write_bytes(b"")  # a disk that lost the file's bytes
    last = prepare(rows, out, **SIZE)
    assert (last.new, last.done, last.failed) == (2, 4, {})
    assert files(out)["a/clip000.mp4"] == before["a/clip000.mp4"]
    assert not list(out.rglob("*.failed.json"))
    assert len(data.from_csv(out / "clips.csv")) == 4


def test_workers_make_the_same_bytes(tmp_path: Path) -> None:
    rows = labelled([*clips(tmp_path, 3), row(tmp_path, "gone.mp4")])
    one = prepare(rows, tmp_path / "one", **SIZE)
    two = prepare(rows, tmp_path / "two", **SIZE, workers=2, deadline=600.0)
    assert one.amount == pytest.approx(two.amount)  # added up in another order
    assert replace(one, amount=two.amount) == two
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_a_kinetics_list_is_cut_to_its_seconds_and_read_back_by_the_same_list(tmp_path: Path) -> None:
    root = tmp_path / "k400"
    for name, first in (("train/-abc_000003_000013.mp4", 10), ("raw/def.mp4", 50)):
        write_clip(root / name, first, frames=30)
    lists = tmp_path / "annotations"
    lists.mkdir()
    (lists / "train.csv").write_text(KINETICS + "drum,-abc,3,13,train\nskate,def,1,2,train\nskate,gone,0,10,train\n")
    (lists / "val.csv").write_text(KINETICS + "skate,def,2,3,val\n")
    assert run("prepare", lists / "train.csv", tmp_path / "small", "--root", root, *SMALL) == 1
    assert run("prepare", lists / "val.csv", tmp_path / "small", "--root", root, *SMALL) == 0
    manifest = data.from_csv(tmp_path / "small" / "train.csv")
    assert manifest["clip"][:] == ["train/-abc_000003_000013.mp4", "raw/def_000001_000002.mp4"]
    assert numbers(data.read_frames(manifest[1]["path"])) == list(range(60, 70))
    with pytest.warns(UserWarning, match="1 of 3 clips are missing"):
        again = data.from_csv(lists / "train.csv", root=tmp_path / "small", allow_missing=0.5)
    assert again["clip"][:] == manifest["clip"][:]
    assert len(data.from_csv(tmp_path / "small" / "val.csv")) == 1


def test_a_folder_per_class_gives_the_labels(tmp_path: Path) -> None:
    for name in ("run/deep/a.avi", "sit/b.mp4"):
        write_clip(tmp_path / "videos" / name, 10)
    assert run("prepare", tmp_path / "videos", tmp_path / "out", *SMALL) == 0
    manifest = data.from_csv(tmp_path / "out" / "clips.csv")
    assert manifest["clip"][:] == ["run/deep/a.mp4", "sit/b.mp4"]
    assert manifest.features["label"].names == ["run", "sit"]


def test_what_prepare_wrote_beside_the_clips_is_nothing_to_warn_of(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Fails when the lists in the prepared folder count as files that are no clips."""
    write_clip(tmp_path / "videos" / "run" / "a.mp4", 10)
    assert run("prepare", tmp_path / "videos", tmp_path / "out", *SMALL) == 0
    assert [one["clip"] for one in clips_of(tmp_path / "out")] == ["run/a.mp4"]
    assert [str(one.message) for one in recwarn if "are no clips" in str(one.message)] == []


def test_no_sound_short_groups_of_pictures_and_an_even_size(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [picture(i, 48, 65) for i in range(40)], pix_fmt="yuv444p")
    write_audio(tmp_path / "sound.mp4")
    result = prepare(labelled([row(tmp_path, "a.mp4"), row(tmp_path, "sound.mp4")]), tmp_path / "out", gop=6, **SIZE)
    assert "no video stream" in result.failed["sound.mp4"]
    with av.open(str(tmp_path / "out" / "a.mp4")) as container:
        (stream,) = container.streams
        assert (stream.codec.name, stream.height, stream.width, stream.average_rate) == ("h264", 48, 64, 10)
        keys = [i for i, frame in enumerate(container.decode(stream)) if frame.key_frame]
    assert max(b - a for a, b in zip(keys, [*keys[1:], 40], strict=True)) <= 6


def test_long_clips_go_through_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = labelled(clips(tmp_path, 1, frames=23))
    prepare(rows, tmp_path / "whole", **SIZE)
    monkeypatch.setattr("kdvideo.extraction.preparing.FRAME_BYTES", 3 * 48 * 64 * 5)
    prepare(rows, tmp_path / "pieces", **SIZE)
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short_side": 47}, "short_side must be an even number"),
        ({"fps": 0.0}, "fps must be positive"),
        ({"crf": 52}, "crf must be in 0..51"),
        ({"gop": 0}, "gop at least 1"),
        ({"shard": (2, 1)}, "shard must be"),
    ],
)
def test_bad_arguments(tmp_path: Path, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare([], tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_other_settings_and_two_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    rows = labelled(clips(tmp_path, 1))
    prepare(rows, tmp_path / "out", **SIZE)
    with pytest.raises(ValueError, match=r"holds clips of other settings.*crf is 18 there, 20 here"):
        prepare(rows, tmp_path / "out", crf=20, **SIZE)
    twins = labelled([row(tmp_path, "a.avi"), row(tmp_path, "a.mp4")])
    with pytest.raises(ValueError, match=r"'a\.avi' and 'a\.mp4' would both be .*a\.mp4"):
        prepare(twins, tmp_path / "twins", **SIZE)
    with pytest.raises(ValueError, match=r"must be a relative path, got '\.\./a\.mp4'"):
        prepare(labelled([row(tmp_path, "../a.mp4")]), tmp_path / "out", **SIZE)


def test_a_full_disk_stops_the_job_and_is_no_fault_of_the_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        av.error.err_check(-28)

    rows = labelled(clips(tmp_path, 1))
    with monkeypatch.context() as patch:
        patch.setattr("kdvideo.extraction.preparing.write_h264", full)
        with pytest.raises(ExtractionError, match="out cannot be written: No space left on device"):
            prepare(rows, tmp_path / "out", **SIZE)
    assert set(files(tmp_path / "out")) == {"prepare.json"}
    assert prepare(rows, tmp_path / "out", **SIZE).done == 1


def test_the_last_of_several_shards_writes_the_whole_lists(tmp_path: Path) -> None:
    """Fails when the lists hold the clips of one shard only."""
    rows = labelled([*clips(tmp_path / "videos", 3), row(tmp_path, "gone.mp4")])
    prepare(rows, tmp_path / "whole", **SIZE)
    for shard in ((2, 2), (1, 2)):
        prepare(rows, tmp_path / "out", **SIZE, shard=shard)
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_lists_are_written_again_where_another_shard_ends_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when `_write_lists` does not look once more after it has written."""
    rows, real = labelled(clips(tmp_path / "videos", 2)), preparing._write_csv
    prepare(rows, tmp_path / "whole", **SIZE)
    for name in ("a", "b"):
        shutil.copytree(tmp_path / "whole" / name, tmp_path / "late" / name)

    def write(path: Path, lines: object) -> None:
        real(path, lines)
        shutil.copytree(tmp_path / "late", tmp_path / "out", dirs_exist_ok=True)

    monkeypatch.setattr(preparing, "_write_csv", write)
    prepare(rows, tmp_path / "out", **SIZE, shard=(1, 2))
    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(900)
def test_killed_at_any_instant_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Fails when `PrepareJob.make` writes in place."""
    rows = labelled(clips(tmp_path / "videos", 40, frames=40))
    for one in rows:
        one["label"] = str(one["clip"])[0]
    prepare(rows, tmp_path / "whole", **SIZE)
    command = [sys.executable, "-m", "kdvideo", "prepare", str(tmp_path / "videos"), str(tmp_path / "out"), *SMALL]
    command[-1] = "2"
    for round_ in range(1, 5):
        job = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        while len(list((tmp_path / "out").rglob("*.mp4"))) < 8 * round_:
            assert job.poll() is None
            time.sleep(0.01)
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    assert run(*command[3:]) == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


CLIPS = (
    "torchvision_videos/SOX5yA1l24A.mp4",
    "torchvision_videos/v_SoccerJuggling_g23_c01.avi",
    "ssv2_1clip/smth-smth-1.webm",
)


@pytest.mark.parametrize("clip", CLIPS)
def test_real_clips_keep_their_frames(shared: Path, tmp_path: Path, clip: str) -> None:
    original = shared / "data" / "clips" / clip
    listed = {"path": str(original), "clip": f"{clip}@0.0-3.0", "label": "x", "start": None, "end": 3.0}
    prepare([listed], tmp_path, short_side=128)
    (path,) = data.from_csv(tmp_path / "clips.csv")["path"]
    before = data.read_frames(original, end=3.0, fps=25, short_side=128)
    after = data.read_frames(path, fps=25, short_side=128)
    height, width = after.shape[-2:]
    assert len(after) == len(before)
    before = before[..., :height, :width]
    found = [psnr(one, other) for one, other in zip(after, before, strict=True)]
    assert min(found) > 30, min(found)
    torch.testing.assert_close(data.read_frames(path, window=range(30, 40)), after[30:40], atol=0, rtol=0)


def test_sizes_where_a_folder_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")

    def closed(_: object) -> object:
        raise PermissionError

    monkeypatch.setattr(os, "scandir", closed)
    assert list(file_sizes([str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4"), str(tmp_path)])) == [5, None, None]


def test_settings_hold_no_time_and_no_place(tmp_path: Path) -> None:
    prepare(labelled(clips(tmp_path, 1)), tmp_path / "out", **SIZE)
    settings = {"short_side": 48, "fps": 10.0, "crf": 18, "gop": 12}
    assert json.loads((tmp_path / "out" / "prepare.json").read_text()) == settings
