"""Windows round key frames: the right frames, boxes that follow crop and flip, missing videos named."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
import torch
from examples.ava.clips import Windows

from examples.ava import clips
from kdvideo import data, detection
from tests.examples_ava.tiny import INPUT, tiny


def test_a_test_window_is_the_whole_frames_round_the_key_frame(videos: Path, tmp_path: Path) -> None:
    config = tiny(videos, tmp_path)
    found = clips.split(config, "val")
    item = Windows(found, config, train=False)[1]
    frames = data.read_frames(videos / "videos" / f"{item['video']}.mp4", fps=10)
    key = round((item["second"] - 900) * 10)
    assert item["clip"].equal(frames[key - 4 : key + 4].movedim(1, 0))
    frame = found.frames[1]
    assert item["boxes"].equal(frame.boxes)
    assert item["labels"].equal(frame.labels)
    assert item["proposals"].equal(found.given(frame))
    assert len(item["proposals"]) > len(frame.boxes)


def test_windows_from_memory_are_those_from_files(videos: Path, tmp_path: Path) -> None:
    found = clips.split(tiny(videos, tmp_path), "train")
    for train, frames in ((False, 50), (True, 8)):
        size = dataclasses.replace(INPUT, frames=frames)
        settings = [tiny(videos, tmp_path, in_memory=kept, input=size) for kept in (True, False)]
        one, other = (Windows(found, config, train=train) for config in settings)
        assert all(one[index]["clip"].equal(other[index]["clip"]) for index in range(len(one)))


def test_fifty_frames_repeat_the_ends_of_a_short_file(videos: Path, tmp_path: Path) -> None:
    config = tiny(videos, tmp_path, input=dataclasses.replace(INPUT, frames=50))
    clip = Windows(clips.split(config, "val"), config, train=False)[0]["clip"]
    assert clip.shape == (3, 50, 48, 64)
    assert all(clip[:, 0].equal(clip[:, t]) for t in range(15))  # the key frame, number 25, is frame 10 of the file
    assert not clip[:, 15].equal(clip[:, 16])


def test_boxes_follow_crop_and_flip(videos: Path, tmp_path: Path) -> None:
    """A picture that is white in the boxes and black elsewhere shows where they belong."""
    config = tiny(videos, tmp_path)
    boxes = torch.tensor([[0.25, 0.125, 0.5, 0.5], [0.5, 0.5, 0.875, 0.875]])
    picture = torch.zeros(1, 3, 48, 64, dtype=torch.uint8)
    for x1, y1, x2, y2 in (boxes * torch.tensor([64, 48, 64, 48])).int().tolist():
        picture[..., y1:y2, x1:x2] = 255
    windows, seen, mirrored = Windows(clips.split(config, "train"), config, train=True), set(), set()
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        clip, (people, labels), given = windows._view(picture, boxes, torch.eye(2), boxes, generator)
        assert clip.shape == (1, 3, 40, 40)
        assert people.equal(given)
        assert len(people) == len(labels)
        drawn = torch.zeros(40, 40, dtype=torch.uint8)
        for x1, y1, x2, y2 in (people * 40).round().int().tolist():
            drawn[y1:y2, x1:x2] = 255
        if len(people) == 2:
            assert drawn.equal(clip[0, 0])
            mirrored.add(bool(people[0, 0] > people[1, 0]))
        seen.add(clip.numpy().tobytes())
    assert len(seen) > 10
    assert mirrored == {True, False}


def test_epochs_differ_and_repeat(videos: Path, tmp_path: Path) -> None:
    config = tiny(videos, tmp_path)
    found = clips.split(config, "train")
    one, other = (Windows(found, config, train=True, seed=seed) for seed in (0, 1))
    assert one[3, 1]["clip"].equal(one[3, 1]["clip"])
    assert not one[3, 1]["clip"].equal(one[4, 1]["clip"])
    assert not one[3, 1]["clip"].equal(other[3, 1]["clip"])


def copied(videos: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(videos, tmp_path / "copy"))


def test_a_missing_video_is_counted_and_named_and_too_many_stop(videos: Path, tmp_path: Path) -> None:
    root = copied(videos, tmp_path)
    (root / "videos" / "train_0001.mp4").unlink()
    with pytest.raises(ValueError, match=r"of 3 videos 1 \(train_0001\) is missing, more than the fraction 0.05"):
        clips.split(tiny(root, tmp_path), "train")
    (root / "videos" / "train_0001.txt").write_text("no video")
    (root / "videos" / "train_0000.txt").write_text("no video")
    found = clips.split(tiny(root, tmp_path, missing=0.34), "train")
    assert found.report == "train: 4 key frames of 2 videos; 1 (train_0001) is missing"
    assert {frame.video for frame in found.frames} == {"train_0000", "train_0002"}
    shutil.rmtree(root / "videos")
    with pytest.raises(ValueError, match=r"videos: no such folder"):
        clips.split(tiny(root, tmp_path), "train")


def test_actions_that_the_label_map_lacks_are_counted_and_named(videos: Path, tmp_path: Path) -> None:
    root = copied(videos, tmp_path)
    text = (root / "val.csv").read_text()
    count = len(re.findall(r",3,\d\n", text))
    assert count
    (root / "val.csv").write_text(re.sub(r",3,(\d)\n", r",33,\1\n", text))
    found = clips.split(tiny(root, tmp_path), "val")
    assert found.unlisted == {33: count}
    assert found.report.endswith(f"2 videos; {count} rows left out, of 1 (33) action ids that actions.pbtxt lacks")
    (root / "val.csv").write_text(re.sub(r",(\d),(\d)\n", r",1\1,\2\n", text))
    with pytest.raises(
        ValueError, match=r"val.csv has no action of actions.pbtxt: ids \[11, 1.* and \[1, 2, 3, 4, 5\]"
    ):
        clips.split(tiny(root, tmp_path), "val")


def test_scores_under_the_threshold_are_left_out(videos: Path, tmp_path: Path) -> None:
    every, sure = (clips.split(tiny(videos, tmp_path, min_score=low), "val") for low in (0.0, 0.5))
    table = detection.read_proposals(videos / "proposals_val.csv")
    assert sum(map(len, every.proposals.values())) == len(table)
    assert sum(map(len, sure.proposals.values())) == int((table.score >= 0.5).sum()) < len(table)
    with pytest.raises(ValueError, match=r"proposals_val.csv has no box with a score from 2 on"):
        clips.split(tiny(videos, tmp_path, min_score=2.0), "val")


def test_key_frames_without_people_or_proposals_stay(videos: Path, tmp_path: Path) -> None:
    root = copied(videos, tmp_path)
    with (root / "val.csv").open("a") as file:
        file.write("val_0000,0900\n")
    config = tiny(root, tmp_path)
    item = Windows(clips.split(config, "val"), config, train=False)[-1]
    assert item["second"] == 900
    assert [len(item[name]) for name in ("boxes", "labels", "proposals")] == [0, 0, 0]


def test_a_key_frame_outside_its_file_names_the_file(videos: Path, tmp_path: Path) -> None:
    config = tiny(videos, tmp_path, clip_start=0)
    with pytest.raises(ValueError, match=r"val_0000.mp4: the second must be in the file \(0 to 3 s\), got 901"):
        Windows(clips.split(config, "val"), config, train=False)[0]


def test_the_fingerprint_knows_boxes_labels_and_files(videos: Path, tmp_path: Path) -> None:
    root = copied(videos, tmp_path)
    before = clips.split(tiny(root, tmp_path), "val").fingerprint
    assert before == clips.split(tiny(videos, tmp_path), "val").fingerprint
    text = (root / "val.csv").read_text()
    (root / "val.csv").write_text(re.sub(r",\d,(\d)\n", lambda row: f",6,{row[1]}\n", text, count=3))
    after = clips.split(tiny(root, tmp_path), "val").fingerprint
    (root / "videos" / "val_0000.mp4").write_bytes(b"other")
    assert len({before, after, clips.split(tiny(root, tmp_path), "val").fingerprint}) == 3
