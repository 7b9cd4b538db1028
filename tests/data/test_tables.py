"""Lists of clips as people and programs write them."""

import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.data import ManifestError, from_csv, read_clip_list
from kdvideo.data.manifests import csv_lists, tables


def write(folder: Path, text: str | bytes) -> Path:
    file = folder / "list.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def pairs(file: Path, **options: Any) -> list[tuple[str, str]]:
    manifest = from_csv(file, **options)
    names = manifest.features["label"].names
    return [(row["clip"], names[row["label"]]) for row in manifest]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name in ("x.mp4", "y.mp4", "a b (c), d.mp4"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    "header",
    [
        *("file{}label", "filename{}class", "Video_Path{}Tag", "# Path{}Label", "Clip Name{}class-id"),
        *("videos{}classes", "videoName{}ClassID", "youtube_id{}label", "Full path{}action_name", "ids{}y"),
    ],
)
@pytest.mark.parametrize("separator", [",", "\t", ";", " , "])
def test_any_usual_header_and_separator(clips: Path, header: str, separator: str) -> None:
    text = "\n".join(row.format(separator) for row in (header, "x.mp4{}run", "y.mp4{}jump", ""))
    assert pairs(write(clips, text)) == [("x.mp4", "run"), ("y.mp4", "jump")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x.mp4 0\ny.mp4 1\n", [("x.mp4", "0"), ("y.mp4", "1")]),
        ("path label\nx.mp4 run\n\ny.mp4 jump", [("x.mp4", "run"), ("y.mp4", "jump")]),
        ("label file\nrun x.mp4\n", [("x.mp4", "run")]),
        ("a b (c), d.mp4 0\nx.mp4 1\n", [("a b (c), d.mp4", "0"), ("x.mp4", "1")]),
        ("x.mp4 120 0\ny.mp4 80 1\n", [("x.mp4", "0"), ("y.mp4", "1")]),
        ("# mine\n\npath,label\nx.mp4,run\n", [("x.mp4", "run")]),
        (",path,label\n0,x.mp4,run\n1,y.mp4,jump\n", [("x.mp4", "run"), ("y.mp4", "jump")]),
        ("path;label\r\nx.mp4;run\r\ny.mp4;jump\r\n", [("x.mp4", "run"), ("y.mp4", "jump")]),
        ("sep=;\r\npath;label\r\nx.mp4;run\r\ny.mp4;jump\r\n", [("x.mp4", "run"), ("y.mp4", "jump")]),
        ("path\tlabel\nx.mp4\trun\n".encode("utf-16"), [("x.mp4", "run")]),
    ],
)
def test_forms_of_lists(clips: Path, text: str | bytes, expected: list[tuple[str, str]]) -> None:
    assert pairs(write(clips, text)) == expected


@pytest.mark.reliability("B9")
def test_labels_from_one_are_said_and_keep_their_names(clips: Path) -> None:
    """Fails when `_from_one` shifts labels among which is 0 or of which one is missing, or is silent."""
    with pytest.warns(UserWarning, match=r"labels are 1 to 2 and never 0: .* classes 0 to 1 in this order"):
        manifest = from_csv(write(clips, "x.mp4,2\ny.mp4,1\n"))
    assert (manifest["label"][:], manifest.features["label"].names) == ([1, 0], ["1", "2"])
    with pytest.warns(UserWarning, match="1 to 3"):
        assert from_csv(write(clips, "x.mp4,3\ny.mp4,1\n"), classes=["a", "b", "c"])["label"][:] == [2, 0]
    with pytest.warns(UserWarning, match="labels are within 1 to 3, never 0, and not all of these: .* pass `classes`"):
        assert from_csv(write(clips, "x.mp4,3\ny.mp4,1\n"))["label"][:] == [3, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert from_csv(write(clips, "x.mp4,2\ny.mp4,0\n"))["label"][:] == [2, 0]
        assert from_csv(write(clips, "x.mp4,2\ny.mp4,1\n"), classes=["a", "b", "c"])["label"][:] == [2, 1]
    with pytest.raises(ManifestError, match=r"line 2: label 3 is not in 0\.\.2"):
        from_csv(write(clips, "x.mp4,0\ny.mp4,3\n"), classes=["a", "b", "c"])


@pytest.mark.parametrize("allow_missing", [False, True])
def test_a_header_of_other_names_is_no_clip(clips: Path, allow_missing: bool) -> None:
    """Fails when the report of `_suspect` is left out: `sort` would be a class, of a missing clip."""
    file = write(clips, "which,sort\nx.mp4,run\ny.mp4,jump\n")
    with pytest.raises(ManifestError, match="line 1: looks like a header, but does not name a path and a label"):
        from_csv(file, allow_missing=allow_missing)


def test_a_list_that_is_no_utf8_names_the_line(clips: Path) -> None:
    with pytest.raises(ManifestError, match=r"line 2 is not UTF-8 \(byte 0xfc\): save the list as UTF-8"):
        from_csv(write(clips, "path,label\nx\u00fc.mp4,run\n".encode("cp1252")))


CELL = st.text(st.sampled_from("ab./ 01#,;\t\\\x1f\u00a0"), max_size=4)
LINES = st.lists(st.tuples(CELL, st.sampled_from([",", ";", "\t", " "]), CELL).map("".join), min_size=1, max_size=5)


@settings(deadline=None, max_examples=400)
@given(LINES, st.sampled_from(["", "path,label\n", "label;file;x\n", "file\tlabel\tend\n"]), st.booleans())
def test_the_quick_way_reads_what_the_careful_way_reads(lines: list[str], head: str, one: bool) -> None:
    """Fails when any condition of `_plain` for its None is left out."""
    separators = [",", ";", "\t", " "]
    if one:  # the same separator everywhere
        lines = [line.translate({ord(s): separators[len(head) % 4] for s in separators[1:]}) for line in lines]
    text = head + "\n".join(lines)
    quick = tables._plain(text)
    if quick is not None:
        reports: list[tuple[int, str]] = []
        careful = tables._by_rows(*tables._rows(text), lambda line, what: reports.append((line, what)))
        assert not reports
        assert list(quick.lines) == list(careful.lines)
        for name, column in quick.columns.items():
            assert column == careful.columns[name]
        assert not any(any(careful.columns[name]) for name in set(careful.columns) - set(quick.columns))


ROWS = 100_000


@pytest.mark.faults
@pytest.mark.reliability("B9")
def test_work_is_done_by_column_and_every_bad_row_is_named(
    clips: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    """Fails when a label or a time is judged for each row instead of once, or when `check_new` stops at the first."""
    rows = [f"{('x', 'y')[i % 2]}.mp4,{i % 3},{i}.0,{i + 1}.0" for i in range(ROWS)]
    bad = {
        9: "x.mp4,-1,0,1",
        99: "../z.mp4,1,0,1",
        999: rows[5],
        9_999: "x.mp4,1,7,3",
        50_000: "gone.mp4,1,0,1",
        70_000: "x",
    }
    for i, row in bad.items():
        rows[i] = row
    calls: list[str] = []
    number = csv_lists._number
    monkeypatch.setattr(csv_lists, "_number", lambda text: (calls.append(text), number(text))[1])
    with pytest.raises(ManifestError) as info:
        from_csv(write(clips, "path,label,start,end\n" + "\n".join(rows)))
    assert {line for line, _ in info.value.problems} == {i + 2 for i in bad}
    assert len(calls) <= 2 * (ROWS + 10)
    record_property("trials", ROWS)


def test_a_list_without_faults_takes_the_quick_way(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"x.mp4,{i % 4},{i}.0,{i + 1}.0\n" for i in range(1000))
    monkeypatch.setattr(tables, "_by_rows", lambda *_: pytest.fail("row by row"))
    assert (
        len(from_csv(write(clips, rows))) == len(read_clip_list(write(clips, "file,class,begin,stop\n" + rows))) == 1000
    )
