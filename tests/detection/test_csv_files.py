"""AVA's csv files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.detection import (
    Detections,
    csv_parts,
    read_annotations,
    read_detections,
    read_excluded,
    read_proposals,
    write_detections,
)
from kdvideo.detection.csv_files import detection_parts

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
def test_written_and_read(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    path = tmp_path_factory.mktemp("csv") / "d.csv"
    write_detections(path, table(rows))
    assert content(read_detections(path)) == content(table(rows))


@pytest.mark.parametrize("part", [1, 300, 10**6])
def test_files_of_many_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """Each part has its own numbers of videos, and the lines of bad rows count from the start of the file."""
    lines = [f"v{n % 7 + n // 9},{900 + n},0.{n + 100},0.2,0.9,0.{n + 300},{n % 80 + 1},0.{n}5" for n in range(99)]
    rows = [tuple(line.split(",")) for line in lines]
    expected = [(v, float(s), [*map(float, box)], int(a), float(score)) for v, s, *box, a, score in rows]
    monkeypatch.setattr(csv_parts, "PART", part)
    path = write(tmp_path, "\ufeff" + "\r\n".join(lines))
    assert content(read_detections(path)) == expected
    assert [row for found in detection_parts(path, num_actions=80) for row in content(found)] == expected
    for bad, message in (("x", "score must be a number"), ("nan", "the score must be a finite number")):
        with pytest.raises(ValueError, match=rf"rows\.csv: line 102: .*{message}"):
            read_detections(write(tmp_path, "\n".join([*lines, "", "", f"a,902,{BOX},3,{bad}"])))


def test_rows_of_a_key_frame_are_in_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_parts, "PART", 1)
    places = [("a", 902), ("b", 902), ("b", 903), ("a", 902), ("c", 1)]
    path = write(tmp_path, "".join(f"{video},{second},{BOX},3,0.5\n" * 3 for video, second in places))
    sizes = [len(part) for part in detection_parts(path, num_actions=80)]
    assert sum(sizes) == 15
    assert len(sizes) > 1
    assert all(size % 3 == 0 for size in sizes)


def test_blocks_of_a_part_share_their_videos(tmp_path: Path) -> None:
    """A part is parsed in blocks of 1 MiB."""
    lines = [f"v{n // 7000},{900 + n // 50},0.1,0.2,0.9,0.9,{n % 80 + 1},0.5" for n in range(60_000)]
    rows = read_detections(write(tmp_path, "\n".join(lines)))
    assert rows.videos == tuple(f"v{n}" for n in range(9))
    assert rows.video.tolist() == [n // 7000 for n in range(60_000)]


def test_rows_without_a_box_keep_their_order(tmp_path: Path) -> None:
    places = [("v", 900.0 + n) for n in range(200_000)]
    text = "\n".join(f"{video},{second:g}" for video, second in places)
    assert read_annotations(write(tmp_path, f"{GOOD}\n{text}\n{GOOD}\n")).empty == tuple(places)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"a,902,{BOX}", "rows must be video,second,x1,y1,x2,y2,action,person, got a,902,0.031"),
        (f"a,902,{BOX},12,0,1", "rows must be video,second"),
        ("a,902,0.1,0.1,0.5", "rows must be video,second"),
        (f"a,x,{BOX},12,0", "second must be a number, got a,x,"),
        (f"a,,{BOX},12,0", "second must be a number, got a,,"),
        ("a,902,0.1,0.1,o.5,0.9,12,0", "x2 must be a number, got a,902,0.1,0.1,o.5"),
        (f"a,902,{BOX},1.5,0", "action must be a whole number of 64 bits, got .*,1.5,0"),
        (f"a,902,{BOX},99999999999999999999,0", "action must be a whole number of 64 bits, got .*,9*,0"),
        (f",902,{BOX},12,0", "the video must have a name"),
        ("a,902,32,40,310,200,12,0", "not pixels"),
        ("a,902,0.1,0.1,1.02,0.9,12,0", "must lie in the frame"),
        ("a,902,-0.02,0.1,0.5,0.9,12,0", "must lie in the frame"),
        ("a,902,nan,0.1,0.5,0.9,12,0", "must lie in the frame"),
        ("a,902,0.5,0.1,0.4,0.9,12,0", "must have x1 <= x2 and y1 <= y2"),
        ("a,902,0.1,0.9,0.4,0.1,12,0", "must have x1 <= x2 and y1 <= y2"),
        (f"a,902,{BOX},0,0", "action ids must be in 1 … 80"),
        (f"a,902,{BOX},81,0", "action ids must be in 1 … 80"),
        (f"a,-1,{BOX},12,0", "the second must be in 0 … 1e.06"),
        (f"a,nan,{BOX},12,0", "the second must be in 0 … 1e.06"),
        (f"a,902000000,{BOX},12,0", "the second must be in 0 … 1e.06"),
        (f"a,902,{BOX},12,0.5", "the person must be a whole number"),
        (f"a,902,{BOX},12,nan", "the person must be a whole number"),
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
    with pytest.raises(ValueError, match="must be UTF-8"):
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
    with pytest.raises(ValueError, match=r"rows\.csv: no box in it: rows must be video,second"):
        read(write(tmp_path, text))


def test_detections_need_a_score(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 1: rows must be .*,action,score, got a,902"):
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
    with pytest.raises(ValueError, match=r"rows\.csv: line 2: rows must be video,second, got a,0902,1"):
        read_excluded(write(tmp_path, "a,0902\na,0902,1\n"))
    for row in ("a,x", "a,nan", "a,-1", "a,902000000", ",0902"):
        with pytest.raises(ValueError, match=rf"line 2: .* must .*, got {row}"):
            read_excluded(write(tmp_path, f"a,0902\n{row}\n"))
    with pytest.raises(ValueError, match="cannot be read"):
        read_excluded(write(tmp_path, 'a,"0902\n'))
    (tmp_path / "rows.csv").write_bytes(b"\xe9,0902\n")
    with pytest.raises(ValueError, match=r"rows\.csv: the file must be UTF-8"):
        read_excluded(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": [[32.0, 40.0, 310.0, 200.0]]}, "not pixels"),
        ({"boxes": [[0.5, 0.1, 0.4, 0.9]]}, "must have x1 <= x2 and y1 <= y2"),
        ({"action": [0]}, "action ids must be in 1 … 80"),
        ({"score": [float("inf")]}, "the score must be a finite number"),
        ({"second": [float("nan")]}, "the second must be in 0 … 1e.06"),
        ({"action": [3, 4]}, r"columns must have shapes .*\(3,\)"),
    ],
)
def test_what_could_not_be_read_is_not_written(tmp_path: Path, change: dict[str, list], message: str) -> None:
    good = table([("a", 902.0, (0.1, 0.1, 0.5, 0.9), 3, 0.25)] * 2)
    bad = dataclasses.replace(
        good, **{name: torch.tensor([*rows, *getattr(good, name)[1:].tolist()]) for name, rows in change.items()}
    )
    with pytest.raises(ValueError, match=rf"the detections: (row 0: .*)?{message}"):
        write_detections(tmp_path / "d.csv", bad)
    assert not list(tmp_path.iterdir())
    write_detections(tmp_path / "d.csv", dataclasses.replace(good, action=good.action + 500))
    assert read_detections(tmp_path / "d.csv", num_actions=503).action.tolist() == [503, 503]
