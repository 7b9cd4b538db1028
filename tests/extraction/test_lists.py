"""Which clips are extracted: the ids are those that the manifests give."""

from pathlib import Path

import pytest

from kdvideo import data
from kdvideo.extraction import clips_of
from tests.extraction.fakes import write_clip


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_a_folder_gives_the_ids_of_from_folder(tmp_path: Path) -> None:
    touch(tmp_path, "run/b.mp4", "run/deep/a.AVI", "jump/ü c.webm", "jump/notes.txt", "jump/.hidden.mp4")
    found = clips_of(tmp_path)
    manifest = data.from_folder(tmp_path)
    assert [clip["clip"] for clip in found] == sorted(manifest["clip"])
    assert {clip["path"] for clip in found} == set(manifest["path"])


def test_a_folder_needs_no_classes_and_the_flow_in_it_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "flow/a.mp4.flow.mkv", "flow/deep/b.mp4.flow.mkv", "flowers/c.mp4")
    assert [clip["clip"] for clip in clips_of(tmp_path, leave_out=tmp_path / "flow")] == ["a.mp4", "flowers/c.mp4"]


def test_one_video(tmp_path: Path) -> None:
    touch(tmp_path, "a.MP4")
    path = tmp_path / "a.MP4"
    assert clips_of(path) == [{"path": str(path), "clip": "a.MP4", "label": "", "start": None, "end": None}]


@pytest.mark.parametrize("labels", [("run", "jump"), ("0", "1")])
def test_a_list_gives_the_ids_of_from_csv(tmp_path: Path, labels: tuple[str, str]) -> None:
    root, file = tmp_path / "videos", tmp_path / "list.csv"
    for name in ("a.mp4", "b/b.mp4"):
        write_clip(root / name, 1)
    body = f"a.mp4,{labels[0]}\nb/../b/b.mp4,{labels[1]},0,1.5\nb/b.mp4,{labels[0]},1.5,\n{root}/b/b.mp4,{labels[0]}\n"
    file.write_text("\ufeff" + body.replace("\n", "\r\n"), encoding="utf-8")
    found, manifest = clips_of(file, root=root), data.from_csv(file, root=root)
    for name in ("path", "clip", "start", "end"):
        assert [clip[name] for clip in found] == manifest[name]


def test_paths_may_be_text(tmp_path: Path) -> None:
    """Fails when they are used as they are: text has no `is_dir`."""
    touch(tmp_path, "a/a.mp4", "flow/b.mp4")
    assert [one["clip"] for one in clips_of(str(tmp_path), leave_out=str(tmp_path / "flow"))] == ["a/a.mp4"]
    with pytest.raises(ValueError, match="videos must be a folder, a list or a video, got None"):
        clips_of(None)


def test_a_listed_file_need_not_be_there(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("path,label\ngone.mp4,run\n")
    expected = {"path": str(tmp_path / "gone.mp4"), "clip": "gone.mp4", "label": "run", "start": None, "end": None}
    assert clips_of(file) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4,run\na.mp4,run\n", "line 2: 'a.mp4' is listed again"),
        ("../a.mp4,run\n", "line 1: path .* leads out"),
        ("a.mp4,run,5,2\n", "line 1: end 2.0 is not after start 5.0"),
        ("a.mp4\n", "line 1: expected path,label"),
        ("", "no clip in it"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "list.csv"
    file.write_text(text)
    with pytest.raises(data.ManifestError, match=message):
        clips_of(file)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(data.ManifestError, match="no such file or folder"):
        clips_of(tmp_path / "videos")
    with pytest.raises(data.ManifestError, match="no video below it"):
        clips_of(tmp_path)
