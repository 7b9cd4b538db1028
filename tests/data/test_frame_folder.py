"""Folders of frames as clips, and the files that are no clips."""

import os
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from kdvideo.data import ClipError, PairedClips, find_videos, from_csv, from_folder, probe, read_frames
from kdvideo.extraction import clips_of, extract
from tests.data.videos import numbers, picture
from tests.extraction.fakes import store

COUNT = 30


def write_frames(folder: Path, count: int = COUNT, *, form: str = "img_{:05d}.png", first: int = 1) -> Path:
    folder.mkdir(parents=True)
    for k in range(count):
        Image.fromarray(picture(k)).save(folder / form.format(first + k))
    return folder


@pytest.mark.parametrize("form", ["img_{:05d}.png", "{}.png", "frame{}.JPG", "a1_{}.jpeg"])
def test_frames_are_read_in_the_order_of_their_numbers(tmp_path: Path, form: str) -> None:
    """Fails when names are sorted as text: 10 before 9."""
    folder = write_frames(tmp_path / "x", form=form, first=0)
    assert numbers(read_frames(folder)) == list(range(COUNT))
    assert numbers(read_frames(folder, fps=12.5, window=range(2, 5))) == [4, 6, 8]
    assert numbers(read_frames(folder, start=0.4, end=0.56)) == [10, 11, 12, 13]
    assert probe(folder, short_side=24).height == 24


def test_they_are_clips_of_manifests_lists_and_extractions(tmp_path: Path) -> None:
    for label in ("run", "sit"):
        write_frames(tmp_path / f"clips/{label}/x")
    manifest = from_folder(tmp_path / "clips")
    assert manifest["clip"][:] == ["run/x", "sit/x"]
    assert manifest["bytes"][0] == sum(file.stat().st_size for file in (tmp_path / "clips/run/x").iterdir())
    (tmp_path / "list.txt").write_text(f"run/x {COUNT} 0\nsit/x {COUNT} 1\n")
    assert from_csv(tmp_path / "list.txt", root=tmp_path / "clips")["label"][:] == [0, 1]
    assert [clip["clip"] for clip in clips_of(tmp_path / "clips")] == ["run/x", "sit/x"]
    assert extract(manifest, store(tmp_path / "flow"), short_side=48).done == 2
    item = PairedClips(manifest, train=False, frames=4, fps=25, short_side=48, crop=48)[1]
    assert item["rgb"].shape == (3, 4, 48, 48)


@pytest.mark.faults
def test_folders_that_are_no_frames(tmp_path: Path) -> None:
    """Fails when pictures of two names count: the flow of a clip would be one."""
    for name in ("flow_x_1.jpg", "flow_x_2.jpg", "flow_y_1.jpg", "flow_y_2.jpg"):
        (tmp_path / "flow").mkdir(exist_ok=True)
        (tmp_path / "flow" / name).touch()
    assert not list(find_videos(tmp_path))
    with pytest.raises(ClipError, match="a folder, and not of frames"):
        probe(tmp_path / "flow")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "img_00004.png").unlink(), "frames 1 to 30 must all be there, got 29"),
        (lambda folder: (folder / "img_00004.png").write_bytes(b"x"), "img_00004.png is not a readable picture"),
        (lambda folder: Image.new("RGB", (9, 9)).save(folder / "img_00004.png"), "has 9x9 pixels, the first 64x48"),
        (lambda folder: ((folder / "img_00004.png").unlink(), os.mkfifo(folder / "img_00004.png")), "not a regular"),
    ],
)
def test_damaged_folders_of_frames(tmp_path: Path, damage: object, reason: str) -> None:
    """Fails when the look at the numbers, or at the size of each picture, is taken away."""
    folder = write_frames(tmp_path / "x")
    damage(folder)  # type: ignore[operator]
    with pytest.raises(ClipError, match=reason):
        read_frames(folder)


def test_skipped_files_are_counted_by_extension(tmp_path: Path) -> None:
    """Fails when other files are skipped without a word."""
    for name in ("a.mp4", "b.MTS", "n1.txt", "n2.txt", "k.mp4.part", "noext", ".hidden"):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).touch()
    text = "4 files are no clips and are skipped: 2 .txt, "
    with pytest.warns(UserWarning, match=text):
        assert len(from_folder(tmp_path)) == 2
    with pytest.warns(UserWarning, match=text):
        assert len(clips_of(tmp_path)) == 2
    found: Counter[str] = Counter()
    list(find_videos(tmp_path, skipped=found))
    assert found == {".txt": 2, ".part": 1, "": 1}
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.flow.json").touch()
    with pytest.warns(UserWarning, match=text):
        clips_of(tmp_path, leave_out=tmp_path / "out")


def test_nothing_is_said_where_nothing_is_skipped(tmp_path: Path) -> None:
    write_frames(tmp_path / "run/x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_folder(tmp_path)
    assert torch.equal(read_frames(tmp_path / "run/x", window=range(1)), read_frames(tmp_path / "run/x")[:1])
