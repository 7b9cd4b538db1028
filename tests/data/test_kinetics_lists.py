"""Official Kinetics lists, on clips that lie in the ways in which people have them."""

from __future__ import annotations

import os
import warnings
from functools import partial
from pathlib import Path

import pytest
from datasets import Dataset

from kdvideo.data import ManifestError, from_csv, from_kinetics_list, read_clip_list
from kdvideo.data.manifests import scanning

HEAD = "label,youtube_id,time_start,time_end,split\n"
ROWS = "air drumming,-abc,3,13,train\nabseiling,def,0,10,train\n"


def place(root: Path, *names: str, text: str = "video") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def write(folder: Path, rows: str, head: str = HEAD) -> Path:
    file = folder / "lists" / "train.csv"
    file.parent.mkdir(exist_ok=True)
    file.write_text(head + rows)
    return file


def problems(*arguments: object, **options: object) -> list[tuple[int, str]]:
    with pytest.raises(ManifestError) as error:
        from_kinetics_list(*arguments, **options)  # type: ignore[arg-type]
    return list(error.value.problems)


@pytest.mark.parametrize(
    "found",
    [
        ("train/-abc_000003_000013.mp4", "train/def_000000_000010.mp4"),  # as the archives unpack
        ("air drumming/-abc_000003_000013.mp4", "abseiling/def_000000_000010.mkv"),  # a folder per class
        ("-abc_000003_000013.webm", "def_000000_000010.mp4"),  # flat
    ],
)
def test_trimmed_clips_are_used_whole(tmp_path: Path, found: tuple[str, str]) -> None:
    place(tmp_path, *found)
    manifest = from_kinetics_list(write(tmp_path, ROWS), root=tmp_path)
    assert manifest["clip"][:] == list(found)
    assert manifest["start"][:] == manifest["end"][:] == [None, None]
    assert manifest["label"][:] == [1, 0]
    assert manifest["bytes"][:] == [5, 5]


def test_of_untrimmed_videos_the_listed_seconds_are_used(tmp_path: Path) -> None:
    place(tmp_path, "raw/def.mkv", "raw/-abc.mp4", "raw/-abc_000003_000013.mp4")
    manifest = from_kinetics_list(write(tmp_path, ROWS + "abseiling,def,12.5,20,train\n"), root=tmp_path)
    assert manifest["clip"][:] == ["raw/-abc_000003_000013.mp4", "raw/def.mkv@0.0-10.0", "raw/def.mkv@12.5-20.0"]
    assert [row["start"] for row in manifest] == [None, 0.0, 12.5]
    assert [row["end"] for row in manifest] == [None, 10.0, 20.0]


def test_replaced_clips_take_the_place_of_the_damaged_ones(tmp_path: Path) -> None:
    again = "replacement/replacement_for_corrupted_k400/def_000000_000010.mp4"
    place(tmp_path, "a/def_000000_000010.mp4", again, "train/def_000000_000010.mp4", "train/-abc_000003_000013.mp4")
    assert from_kinetics_list(write(tmp_path, ROWS), root=tmp_path)["clip"][1] == again
    (tmp_path / again).unlink()
    assert from_kinetics_list(write(tmp_path, ROWS), root=tmp_path)["clip"][1] == "a/def_000000_000010.mp4"


def test_links_to_clips_and_folders_are_followed(tmp_path: Path) -> None:
    place(tmp_path, "disk/train/def_000000_000010.mp4", "disk/-abc.mp4")
    root = tmp_path / "k400"
    (root / "by class").mkdir(parents=True)
    (root / "train").symlink_to(tmp_path / "disk" / "train")
    (root / "by class" / "-abc_000003_000013.mp4").symlink_to(tmp_path / "disk" / "-abc.mp4")
    (root / "round").symlink_to(tmp_path)  # a circle
    (root / "gone.mp4").symlink_to(tmp_path / "nowhere")
    manifest = from_kinetics_list(write(tmp_path, ROWS), root=root)
    assert manifest["clip"][:] == ["by class/-abc_000003_000013.mp4", "train/def_000000_000010.mp4"]


def test_missing_and_empty_clips_are_counted_listed_and_left_out(tmp_path: Path) -> None:
    place(tmp_path, "-abc_000003_000013.mp4", "def_000000_000010.mp4")
    place(tmp_path, "hij_000000_000010.mp4", text="")
    file, out = (
        write(tmp_path, ROWS + "abseiling,gone,1,11,train\nzumba,hij,0,10,train\n"),
        tmp_path / "out" / "lost.csv",
    )
    with pytest.warns(UserWarning, match=r"train\.csv: 2 of 4 clips are missing and left out.*lost\.csv"):
        manifest = from_kinetics_list(file, root=tmp_path, allow_missing=0.5, missing_list=out)
    assert manifest["clip"][:] == ["-abc_000003_000013.mp4", "def_000000_000010.mp4"]
    assert manifest.features["label"].names == [
        "abseiling",
        "air drumming",
        "zumba",
    ]  # of the list, not of what is left
    assert out.read_text() == (
        "line,path,reason\n4,gone_000001_000011.mp4,no such file\n5,hij_000000_000010.mp4,empty file\n"
    )
    found = problems(file, root=tmp_path, allow_missing=0.49, missing_list=out)
    assert found[0] == (0, f"2 of 4 clips are missing, more than the 49.00% allowed; all are in {out}")
    assert found[1:] == [
        (4, "no such file 'gone_000001_000011.mp4'"),
        (5, "empty file 'hij_000000_000010.mp4'"),
    ]


def test_when_nothing_is_missing_no_old_list_says_so(tmp_path: Path) -> None:
    place(tmp_path, "-abc_000003_000013.mp4")
    file, out = write(tmp_path, ROWS), tmp_path / "lost.csv"
    problems(file, root=tmp_path, missing_list=out)
    assert out.read_text() == "line,path,reason\n3,def_000000_000010.mp4,no such file\n"
    place(tmp_path, "def_000000_000010.mp4")
    from_kinetics_list(file, root=tmp_path, missing_list=out)
    assert not out.exists()


def test_a_wrong_root_is_a_stop_however_many_may_be_missing(tmp_path: Path) -> None:
    place(tmp_path, "-abc_000003_000013.mp4")
    file = write(tmp_path, ROWS)
    with pytest.raises(ManifestError, match=r"2 of 2 clips are missing, is '.*lists' their root\?"):
        from_csv(file, allow_missing=True)


def test_rows_listed_twice_count_once_and_two_labels_are_an_error(tmp_path: Path) -> None:
    place(tmp_path, "-abc_000003_000013.mp4", "def_000000_000010.mp4")
    with pytest.warns(UserWarning, match="1 rows are listed again, and count once"):
        manifest = from_kinetics_list(write(tmp_path, ROWS + "abseiling,def,0,10,train\n"), root=tmp_path)
    assert len(manifest) == 2
    found = problems(write(tmp_path, ROWS + "zumba,def,0,10,train\n"), root=tmp_path)
    assert found == [(4, "'def_000000_000010.mp4' is listed again with another label (first on line 3)")]


@pytest.mark.parametrize(
    "row", ["abseiling,def,zero,10,train", ",def,0,10,train", "abseiling,def,10,10,x", "abseiling"]
)
def test_bad_rows_are_named(tmp_path: Path, row: str) -> None:
    place(tmp_path, "-abc_000003_000013.mp4", "def_000000_000010.mp4")
    ((line, text),) = problems(write(tmp_path, ROWS + row + "\n"), root=tmp_path)
    assert (line, text[:44]) == (4, "expected label, youtube_id, time_start and a")


def test_a_list_without_its_header_is_named(tmp_path: Path) -> None:
    ((_, text),) = problems(write(tmp_path, ROWS, head=""), root=tmp_path)
    assert text.startswith("expected a header with label, youtube_id, time_start, time_end")


@pytest.mark.parametrize("head", [HEAD, "\ufeff" + HEAD, "split,time_end,time_start,Label,youtube_id,is_cc\r\n"])
def test_the_header_routes_every_reader_of_lists(tmp_path: Path, head: str) -> None:
    place(tmp_path, "x/-abc_000003_000013.mp4", "x/def.mp4")
    body = "train,13,3,air drumming,-abc,0\r\ntrain,10,0,abseiling,def,1\r\n" if "is_cc" in head else ROWS
    file = write(tmp_path, body, head)
    manifest: Dataset = from_csv(file, root=tmp_path)
    assert manifest["clip"][:] == ["x/-abc_000003_000013.mp4", "x/def.mp4@0.0-10.0"]
    rows = read_clip_list(file, root=tmp_path)
    for name in ("path", "clip", "start", "end"):
        assert [row[name] for row in rows] == manifest[name][:]
    assert [row["label"] for row in rows] == ["air drumming", "abseiling"]


def test_a_list_of_paths_may_have_a_column_of_that_name(tmp_path: Path) -> None:
    place(tmp_path / "lists", "a.mp4")
    file = write(tmp_path, "a.mp4,run,x\n", head="path,label,youtube_id\n")
    assert from_csv(file)["clip"][:] == ["a.mp4"]


def test_folders_are_listed_once_and_no_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"train/v{i:02d}_000000_000010.mp4" for i in range(50)]
    place(tmp_path, *names)
    file = write(tmp_path, "".join(f"run,v{i:02d},0,10,train\n" for i in range(60)))
    calls: list[str] = []
    real = {name: getattr(os, name) for name in ("scandir", "stat")}

    def counted(name: str, path: object) -> object:
        if path != file:  # the list itself is looked at once
            calls.append(name)
        return real[name](path)

    for name in real:
        monkeypatch.setattr(scanning.os, name, partial(counted, name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(from_kinetics_list(file, root=tmp_path, allow_missing=0.2)) == 50
    assert calls.count("stat") == 0
    assert calls.count("scandir") <= 6  # of the root and two folders: to find the clips, and for their sizes
