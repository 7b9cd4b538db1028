"""AVA's csv files."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.detection import (
    Detections,
    _csv,
    _fast,
    read_annotations,
    read_detections,
    read_excluded,
    read_proposals,
    write_detections,
)

BOX = "0.031,0.162,0.670,0.995"
GOOD = f"a,0902,{BOX},12,0"


def write(folder: Path, text: str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_annotations_of_ava(shared: Path) -> None:
    rows = read_annotations(shared / "data/ava/ava_dataset/ava_sample.csv")
    assert rows.videos == ("0f39OWEqJ24", "_-Z6wFjXtGQ")
    assert rows.video.tolist() == [0] * 5 + [1] * 3
    assert rows.second.tolist() == [902] * 3 + [903] * 2 + [902] * 3
    assert rows.action.tolist() == [12, 17, 79, 12, 17, 12, 74, 80]
    assert rows.person.tolist() == [0] * 8
    assert rows.boxes[5].tolist() == [0.063, 0.049, 0.524, 0.996]
    excluded = read_excluded(shared / "data/ava/ava_dataset/ava_excluded_timestamps_sample.csv")
    assert excluded == {("0f39OWEqJ24", 903.0), ("_-Z6wFjXtGQ", 902.0)}


@pytest.mark.parametrize("text", [f"a,0902,{BOX},12\n", f"\ufeffa,0902,{BOX},12\r\n\r\n", f"a,902.0,{BOX},12"])
def test_annotations_without_a_person(tmp_path: Path, text: str) -> None:
    rows = read_annotations(write(tmp_path, text))
    assert (rows.videos, rows.second.tolist(), rows.action.tolist()) == (("a",), [902.0], [12])
    assert rows.person.tolist() == [-1]


def test_key_frames_without_boxes(tmp_path: Path) -> None:
    rows = read_annotations(write(tmp_path, f"b,0903\n{GOOD}\nb,0904\n"))
    assert rows.empty == (("b", 903.0), ("b", 904.0))
    assert len(rows) == 1


NUMBERS = st.floats(0, 1).map(lambda value: round(value, 7))
BOXES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).map(lambda b: (*map(min, b[:2], b[2:]), *map(max, b[:2], b[2:])))
ROWS = st.tuples(
    st.sampled_from(["a", "bé", "c d", 'e,"f', "_-Z6wFjXtGQ"]),
    st.sampled_from([902.0, 903.0, 1798.5]),
    BOXES,
    st.integers(1, 80),
    st.floats(-1e9, 1e9),
)


def table(rows: list[tuple[str, float, tuple[float, ...], int, float]]) -> Detections:
    names = list(dict.fromkeys(row[0] for row in rows))
    video = torch.tensor([names.index(row[0]) for row in rows])
    second, boxes, score = (torch.tensor([row[n] for row in rows], dtype=torch.float64) for n in (1, 2, 4))
    return Detections(tuple(names), video, second, boxes, torch.tensor([row[3] for row in rows]), score)


def content(rows: Detections) -> list[tuple[object, ...]]:
    columns = (rows.video, rows.second, rows.boxes, rows.action, rows.score)
    return [(rows.videos[video], *rest) for video, *rest in zip(*(column.tolist() for column in columns), strict=True)]


@settings(deadline=None, max_examples=40)
@given(rows=st.lists(ROWS, min_size=1, max_size=8))
def test_written_and_read_by_each_parser(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    path = tmp_path_factory.mktemp("csv") / "d.csv"
    write_detections(path, table(rows))
    layout = _csv.Layout(action=True, last="score", last_optional=False)
    expected = content(table(rows))
    assert content(read_detections(path)) == expected
    names = layout.names(8)
    assert names is not None
    fast = [_fast._with_numpy(path, names, layout), _csv.parse_lines(path, layout)]
    if not any('"' in row[0] for row in rows):
        pytest.importorskip("pyarrow")
        fast.append(_fast._with_arrow(path, names, layout))
    for found in fast:
        assert found is not None
        assert [found.videos[v] for v in found.video] == [row[0] for row in expected]
        got = zip(found.second, found.boxes.tolist(), found.action, found.last, strict=True)
        assert [tuple(row) for row in got] == [row[1:] for row in expected]


def test_plain_files_are_parsed_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("kdvideo.detection.reading.parse_lines", None)
    monkeypatch.setattr(_fast, "_with_numpy", None)
    assert len(read_detections(write(tmp_path, f"a,902,{BOX},3,0.25\na,902,{BOX},4,0.5\n"))) == 2
    assert len(read_annotations(write(tmp_path, f"a,902,{BOX},3\na,902,{BOX},4\n"))) == 2
    assert len(read_proposals(write(tmp_path, f"a,902,{BOX},,0.25\nb,902,{BOX},,0.5\n"))) == 2


def test_files_of_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block has its own dictionary of videos."""
    pytest.importorskip("pyarrow")
    lines = [f"v{n % 7 + n // 9},{900 + n},0.{n + 100},0.2,0.9,0.{n + 300},{n % 80 + 1},0.{n}5" for n in range(99)]
    path = write(tmp_path, "\n".join(lines))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expected = content(read_detections(path))
    monkeypatch.undo()
    monkeypatch.setattr(_fast, "BLOCK", 128)
    monkeypatch.setattr("kdvideo.detection.reading.parse_lines", None)
    monkeypatch.setattr(_fast, "_with_numpy", None)
    assert content(read_detections(path)) == expected


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, f"b,902,{BOX},3,0.25\na,902,{BOX},4,0.5\nb,903,{BOX},5,1e-05\n")
    expected = content(read_detections(path))
    monkeypatch.setattr("kdvideo.detection.reading.parse_lines", None)  # too slow for files of millions of rows
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert content(read_detections(path)) == expected
    assert [row[0] for row in expected] == ["b", "a", "b"]


def test_long_names_are_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    rows = read_detections(write(tmp_path, f"{'x' * 70}1,902,{BOX},3,1\n{'x' * 70}2,902,{BOX},3,1\n"))
    assert rows.videos == ("x" * 70 + "1", "x" * 70 + "2")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"a,902,{BOX}", "6 columns; expected video,second,x1,y1,x2,y2,action,\\[person\\]"),
        (f"a,902,{BOX},12,0,1", "9 columns"),
        ("a,902,0.1,0.1,0.5", "5 columns"),
        (f"a,x,{BOX},12,0", "second 'x' is not a number"),
        (f"a,,{BOX},12,0", "second '' is not a number"),
        ("a,902,0.1,0.1,o.5,0.9,12,0", "x2 'o.5' is not a number"),
        (f"a,902,{BOX},1.5,0", "action '1.5' is not a whole number"),
        (f"a,902,{BOX},99999999999999999999,0", "action '9*' is not a whole number of 64 bits"),
        (f",902,{BOX},12,0", "no name"),
        ("a,902,32,40,310,200,12,0", "not pixels"),
        ("a,902,0.1,0.1,1.02,0.9,12,0", "outside the frame"),
        ("a,902,-0.02,0.1,0.5,0.9,12,0", "outside the frame"),
        ("a,902,nan,0.1,0.5,0.9,12,0", "outside the frame"),
        ("a,902,0.5,0.1,0.4,0.9,12,0", "reversed"),
        ("a,902,0.1,0.9,0.4,0.1,12,0", "reversed"),
        (f"a,902,{BOX},0,0", "count from 1 to 80"),
        (f"a,902,{BOX},81,0", "count from 1 to 80"),
        (f"a,-1,{BOX},12,0", "second is not in 0"),
        (f"a,nan,{BOX},12,0", "second is not in 0"),
        (f"a,902000000,{BOX},12,0", "second is not in 0"),
        (f"a,902,{BOX},12,0.5", "person is not a whole number"),
        (f"a,902,{BOX},12,nan", "person is not a whole number"),
        (f'a,902,"{BOX},12,0', "cannot be read"),
    ],
)
def test_bad_rows_are_named_by_line(tmp_path: Path, row: str, message: str) -> None:
    path = write(tmp_path, f"{GOOD}\n\n{row}\n{GOOD}\n")
    with pytest.raises(ValueError, match=rf"rows\.csv: line [34]: .*{message}"):
        read_annotations(path)


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(f"{GOOD}\né{GOOD}\n".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        read_annotations(path)


def test_slightly_outside_is_fine(tmp_path: Path) -> None:
    rows = read_annotations(write(tmp_path, "a,902,-0.0019,0.1,1.0000001,1.003,12,0\n"))
    assert rows.boxes.tolist() == [[-0.0019, 0.1, 1.0000001, 1.003]]


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, f"{GOOD}\n" + f"a,902,{BOX},0,0\n" * 30)
    with pytest.raises(ValueError, match=r"line 2: (.|\n)*line 6: (.|\n)*and 25 more bad rows$"):
        read_annotations(path)
    with pytest.raises(ValueError, match=r"and 25 more bad rows$"):
        read_annotations(write(tmp_path, f"{GOOD}\n" + "a,902,1\n" * 30))


@pytest.mark.parametrize("score", ["nan", "inf", "", "high"])
def test_scores_are_numbers(tmp_path: Path, score: str) -> None:
    for read, row in ((read_detections, f"a,902,{BOX},12,"), (read_proposals, f"a,902,{BOX},,")):
        with pytest.raises(ValueError, match=r"line 2: .*score"):
            read(write(tmp_path, f"{row}0.5\n{row}{score}\n"))


@pytest.mark.parametrize("read", [read_annotations, read_detections, read_proposals])
@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_empty_files(tmp_path: Path, read: Callable[[Path], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"rows\.csv: no box in it; expected rows video,second"):
        read(write(tmp_path, text))


def test_detections_need_a_score(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 1: 7 columns"):
        read_detections(write(tmp_path, f"a,902,{BOX},12\n"))


def test_proposals(tmp_path: Path) -> None:
    with_action = f"a,902,{BOX},,0.25\na,0902,0.1,0.1,0.2,0.2,-1,0.5\na,902,{BOX},12,0.75\nb,902,{BOX},x,0.125\n"
    rows = read_proposals(write(tmp_path, with_action))
    assert rows.videos == ("a", "b")
    assert rows.video.tolist() == [0, 0, 1]
    assert rows.score.tolist() == [0.5, 0.75, 0.125]
    short = read_proposals(write(tmp_path, f"a,902,{BOX},0.25\n"))
    assert (short.score.tolist(), short.boxes.tolist()) == ([0.25], [[0.031, 0.162, 0.67, 0.995]])
    known = read_annotations(write(tmp_path, GOOD + "\nc,902\n", "truth.csv"))
    with pytest.raises(ValueError, match=r"1 of 2 videos are not in the ground truth: 'b'; names there look like 'a'"):
        read_proposals(write(tmp_path, with_action), annotations=known)
    assert len(read_proposals(write(tmp_path, f"c,902,{BOX},0.25\n"), annotations=known)) == 1
    with pytest.raises(ValueError, match="pickles are not read"):
        read_proposals(tmp_path / "dense_proposals.pkl")


def test_excluded(tmp_path: Path) -> None:
    assert read_excluded(write(tmp_path, "")) == frozenset()
    with pytest.raises(ValueError, match=r"rows\.csv: line 2: expected video,second .*, got 'a,0902,1'"):
        read_excluded(write(tmp_path, "a,0902\na,0902,1\n"))
    for row in ("a,x", "a,nan", "a,-1", "a,902000000", ",0902"):
        with pytest.raises(ValueError, match=rf"line 2: expected video,second .* in 0 … 1e\+06, got '{row}'"):
            read_excluded(write(tmp_path, f"a,0902\n{row}\n"))
    with pytest.raises(ValueError, match="cannot be read"):
        read_excluded(write(tmp_path, 'a,"0902\n'))
    (tmp_path / "rows.csv").write_bytes(b"\xe9,0902\n")
    with pytest.raises(ValueError, match=r"rows\.csv: not UTF-8"):
        read_excluded(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [[32.0, 40.0, 310.0, 200.0]]}, "not pixels"),
        ({"boxes": [[0.5, 0.1, 0.4, 0.9]]}, "reversed"),
        ({"action": [0]}, "count from 1"),
        ({"score": [float("inf")]}, "score is not a finite number"),
        ({"second": [float("nan")]}, "second is not in 0"),
        ({"action": [3, 4]}, r"columns of shapes .*\(2,\)"),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path: Path, change: dict[str, list], message: str) -> None:
    good = table([("a", 902.0, (0.1, 0.1, 0.5, 0.9), 3, 0.25)] * 2)
    bad = dataclasses.replace(
        good, **{name: torch.tensor([*rows, *getattr(good, name)[1:].tolist()]) for name, rows in change.items()}
    )
    with pytest.raises(ValueError, match=rf"the detections: (row 0: a,.*)?{message}"):
        write_detections(tmp_path / "d.csv", bad)
    assert not list(tmp_path.iterdir())
    write_detections(tmp_path / "d.csv", dataclasses.replace(good, action=good.action + 500))
    assert read_detections(tmp_path / "d.csv", num_actions=503).action.tolist() == [503, 503]
