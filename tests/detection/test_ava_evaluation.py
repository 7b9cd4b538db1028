"""Frame-mAP of files."""

import dataclasses
import math
import random
from pathlib import Path

import pytest
import torch

from kdvideo.detection import Annotations, Detections, csv_parts, frame_map, read_detections, write_detections

BOX = "0.100,0.100,0.500,0.900"
OTHER = "0.600,0.100,0.900,0.900"
CLASSES = {3: "bend", 7: "sit"}


def write(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_the_official_numbers_of_the_sample(shared: Path) -> None:
    folder = shared / "data/ava"
    expected = {}
    for line in (folder / "AVA_REFERENCE.txt").read_text().splitlines():
        name, _, value = line.strip().rpartition(" ")
        if name.strip().startswith(("AP@0.5IOU/", "mAP@0.5IOU")):
            expected[name.strip().removeprefix("AP@0.5IOU/")] = float(value)
    sample = folder / "eval_detection"
    result = frame_map(sample / "gt.csv", sample / "pred.csv", sample / "action_list.txt")
    assert list(result.per_class) == ["action1", "action2", "action3"]
    assert expected.pop("mAP@0.5IOU") == pytest.approx(result.mean, abs=1e-12)
    assert result.per_class == pytest.approx(expected, abs=1e-12)


def test_key_frames_are_those_that_the_ground_truth_names(tmp_path: Path) -> None:
    found = write(tmp_path, "d.csv", f"a,902,{BOX},7,0.5", f"a,0903,{BOX},7,0.9", f"a,904.0,{BOX},7,0.8")
    truth = [f"a,0902,{BOX},7,0"]
    assert frame_map(write(tmp_path, "g.csv", *truth), found, CLASSES).mean == 1
    assert frame_map(write(tmp_path, "g.csv", *truth, "a,0903"), found, CLASSES).mean == 0.5
    assert frame_map(write(tmp_path, "g.csv", *truth, f"a,0903,{BOX},12,0"), found, CLASSES).mean == 0.5
    assert frame_map(write(tmp_path, "g.csv", *truth, "a,0903", "a,904"), found, CLASSES).mean == pytest.approx(1 / 3)


def test_videos_without_any_box_have_key_frames_too(tmp_path: Path) -> None:
    truth = write(tmp_path, "g.csv", f"a,902,{BOX},7,0", "b,902")
    found = write(tmp_path, "d.csv", f"a,902,{BOX},7,0.5", f"b,902,{BOX},7,0.9")
    assert frame_map(truth, found, CLASSES).mean == 0.5


def test_key_frames_of_different_videos_stay_apart(tmp_path: Path) -> None:
    """Also where one number for video and microsecond could collide: 2³⁰ and 10⁶ of them apart."""
    for second in (2**30 / 1e6, 1e6):
        truth = write(tmp_path, "g.csv", f"a,{second},{BOX},7,0", f"b,0,{OTHER},7,0")
        found = write(tmp_path, "d.csv", f"b,0,{BOX},7,0.5", f"a,{second},{OTHER},7,0.9")
        assert frame_map(truth, found, CLASSES).mean == 0


def test_excluded_timestamps_are_dropped(tmp_path: Path) -> None:
    truth = write(tmp_path, "g.csv", f"a,0902,{BOX},7,0", f"a,0903,{BOX},7,0", "a,0904")
    found = write(tmp_path, "d.csv", f"a,902,{BOX},7,0.5", f"a,904,{BOX},7,0.9")
    assert frame_map(truth, found, CLASSES).mean == 0.25
    assert frame_map(truth, found, CLASSES, excluded=[("a", 903), ("b", 902)]).mean == 0.5
    assert frame_map(truth, found, CLASSES, excluded=write(tmp_path, "e.csv", "a,0904", "a,0903.0")).mean == 1
    assert frame_map(truth, found, CLASSES, excluded=write(tmp_path, "e.csv")).mean == 0.25
    with pytest.raises(ValueError, match="no detection lies on a key frame"):
        frame_map(truth, found, CLASSES, excluded=[("a", 902), ("a", 904)])
    found = write(tmp_path, "d.csv", f"a,902,{BOX},7,0.5")
    with pytest.raises(ValueError, match="no detection lies on a key frame"):
        frame_map(truth, found, CLASSES, excluded=[("a", 902), ("a", 903)])
    with pytest.raises(ValueError, match="all key frames of the ground truth are excluded"):
        frame_map(truth, found, CLASSES, excluded=[("a", 902), ("a", 903), ("a", 904)])
    for second in (math.nan, math.inf, -1):
        with pytest.raises(ValueError, match=r"excluded must have .* seconds in 0 … 1e\+06, got \('a', "):
            frame_map(truth, found, CLASSES, excluded=[("a", second)])


def test_tables_give_what_their_files_give(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    boxes = torch.rand(8, 2, generator=draw, dtype=torch.float64) / 2
    boxes = torch.cat([boxes, boxes + 0.4], 1)
    found = Detections.from_scores(
        [("a,b", 902 + n, boxes[2 * n : 2 * n + 2], torch.rand(2, 2, generator=draw)) for n in range(4)], classes=(3, 7)
    )
    lines = [f'"a,b",{902 + n // 2},{",".join(map(repr, boxes[n].tolist()))},{7 - n % 2 * 4},0' for n in range(8)]
    truth = write(tmp_path, "g.csv", *lines)
    write_detections(tmp_path / "d.csv", found)
    result = frame_map(truth, found, CLASSES)
    assert 0.4 < result.mean < 1
    assert frame_map(truth, tmp_path / "d.csv", CLASSES) == result


@pytest.mark.parametrize("part", [1, 3000, 10**6])
@pytest.mark.parametrize("together", [True, False])
def test_files_are_evaluated_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int, together: bool
) -> None:
    """Key frames of one to 130 rows, some longer than a part; equal scores; all to the last bit."""
    draw = random.Random(1)
    places = [(f"v{n % 3}", 900 + n // 3) for n in range(40)]
    rows = [f"{v},{s},{draw.choice([BOX, OTHER])},{draw.choice([3, 7])},{n % 2}" for v, s in places for n in (0, 1)]
    found = [
        f"{video},{second},{draw.choice([BOX, OTHER])},{draw.choice([3, 7])},0.{draw.randint(1, 9)}"
        for video, second in draw.sample(places, 40)
        for _ in range(draw.choice([1, 7, 60, 130]))
    ]
    if not together:
        draw.shuffle(found)
    truth, detections = write(tmp_path, "g", *rows), write(tmp_path, "d", *found)
    out = [("v1", 905.0), ("v2", 903.0)]
    expected = frame_map(truth, read_detections(detections), CLASSES, excluded=out)
    monkeypatch.setattr(csv_parts, "PART", part)
    if together:
        monkeypatch.setattr("kdvideo.detection.ava_evaluation.read_detections", None)  # all rows at once
    assert repr(frame_map(truth, detections, CLASSES, excluded=out)) == repr(expected)
    assert 0.1 < expected.mean < 0.9


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"a,902,{OTHER},81,0.1", "action ids must be in 1 … 80"),
        (f",902,{OTHER},7,0.1", "must have a name"),
        (f"a,902,{OTHER},7,x", "must be a number"),
    ],
)
def test_a_bad_row_is_named_whatever_the_others_give(tmp_path: Path, row: str, message: str) -> None:
    truth, found = write(tmp_path, "g.csv", f"a,902,{BOX},7,0"), f"a,902,{BOX},7,0.5"
    with pytest.raises(ValueError, match=rf"d\.csv: line 3: .*{message}"):
        frame_map(truth, write(tmp_path, "d.csv", found, found, row), CLASSES)


def test_ground_truth_in_any_order(tmp_path: Path) -> None:
    truth = write(tmp_path, "g.csv", f"a,905,{BOX},7,0", f"a,903,{BOX},7,0", f"a,902,{BOX},7,0")
    found = write(tmp_path, "d.csv", f"a,902,{BOX},7,0.5")
    assert frame_map(truth, read_detections(found), CLASSES).mean == pytest.approx(1 / 3)
    assert frame_map(truth, found, CLASSES).mean == pytest.approx(1 / 3)


def test_the_label_map_decides_which_actions_are_evaluated(tmp_path: Path) -> None:
    """AVA's annotations have 80 actions, of which its list names 60; no detection may have others."""
    truth = write(tmp_path, "g.csv", f"a,902,{BOX},7,0", f"a,902,{BOX},12,0", f"a,903,{BOX},80,0", f"a,904,{BOX},80,0")
    found = write(tmp_path, "d.csv", f"a,902,{BOX},7,0.5")
    assert frame_map(truth, found, CLASSES) == (1.0, {"bend": pytest.approx(math.nan, nan_ok=True), "sit": 1.0}, 3)
    assert frame_map(truth, found, CLASSES, excluded=[("a", 904)]).left_out == 2
    wrong = write(tmp_path, "d.csv", f"a,902,{BOX},7,0.5", f"a,902,{BOX},80,0.5", f"a,902,{BOX},12,0.5")
    for given, source in ((wrong, r"d\.csv"), (read_detections(wrong), "the detections")):
        with pytest.raises(ValueError, match=rf"{source}: action ids .* must be in the label map, got 12, 80: leave"):
            frame_map(truth, given, CLASSES)


def test_the_person_orders_boxes_that_overlap_equally(tmp_path: Path) -> None:
    """Two people at equal distance of one detection: the evaluator reads the person as a score, and takes the higher.

    The other detection overlaps only the right one enough.
    """
    people = ("0,0,0.75,1", "0.25,0,1,1")
    found = write(tmp_path, "d.csv", "a,902,0.125,0,0.875,1,7,0.9", "a,902,0.5,0,1,1,7,0.8")
    means = []
    for person in (0, 1):
        lines = [f"a,902,{people[0]},7,{person}", f"a,902,{people[1]},7,{1 - person}"]
        means.append(frame_map(write(tmp_path, "g.csv", *lines), found, CLASSES).mean)
    assert means == [0.5, 1.0]


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (f"a,902,{BOX},7,0", f"z,902,{BOX},7,0.5", r"d.csv: 1 of 1 videos are not in the ground truth: 'z'"),
        (f"a,902,{BOX},7,0", f"a,27060,{BOX},7,0.5", "names seconds 902 … 902, the detections seconds 27060 … 27060"),
        (f"a,902,{BOX},7,0", f"a,902,{BOX},6,0.5", "d.csv: action ids .* must be in the label map, got 6: leave"),
        (f"a,902,{BOX},7,0", f"a,902,{BOX},3,0.5", "nowhere do ground truth"),
        (f"a,902,{BOX},7,0", f"a,902,{BOX},0,0.5", "line 1: action ids must be in 1 … 80"),
        (f"a,902,{BOX},81,0", f"a,902,{BOX},7,0.5", "line 1: action ids must be in 1 … 80"),
        ("a,902", f"a,902,{BOX},7,0.5", "g.csv: no box"),
        (f"a,902,{BOX},7,0", "a,902", "d.csv: no box"),
        (f"a,902,{BOX},7,0\na,903,{BOX},3,0", f"a,902,{BOX},3,1\na,903,{BOX},7,1", "on no key frame"),
        (f"a,902,{BOX},7,0\na,903", f"a,903,{BOX},7,0.5", "on no key frame do"),
        (f"a,902,{BOX},7,0", "a,902,0.5,0.1,0.5,0.9,7,1", "got no box of the detections that has an area"),
    ],
)
def test_what_could_only_give_zero_is_an_error(tmp_path: Path, truth: str, found: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        frame_map(write(tmp_path, "g.csv", truth), write(tmp_path, "d.csv", found), CLASSES)


COLUMNS = ("video", "second", "boxes", "action", "score")
IDS = {action: f"action {action}" for action in range(1, 9)}


def tables(*, noise: float, dense: bool, frames: int = 8, seed: int = 0) -> tuple[Annotations, Detections]:
    """Three people a key frame, each with one or two actions, and a detector that knows their boxes."""
    draw = torch.Generator().manual_seed(seed)
    count = 3 * frames
    corner = torch.rand(count, 2, generator=draw, dtype=torch.float64) / 2
    place = (("a",), torch.zeros(count, dtype=torch.int64), 900 + torch.arange(count).double() // 3)
    boxes, labels = torch.cat([corner, corner + 0.3], 1), torch.zeros(count, len(IDS))
    labels.scatter_(1, torch.randint(len(IDS), (count, 2), generator=draw), 1)
    scores = labels + noise * torch.randn(count, len(IDS), generator=draw)
    kept = torch.ones_like(labels) if dense else torch.zeros_like(labels).scatter_(1, scores.argmax(1, True), 1)
    (person, action), (row, guess) = labels.nonzero().T, kept.nonzero().T
    truth = Annotations(("a",), place[1][person], place[2][person], boxes[person], action + 1, person)
    return truth, Detections(("a",), place[1][row], place[2][row], boxes[row], guess + 1, scores[row, guess].double())


@pytest.mark.parametrize("dense", [False, True])
def test_detectors_that_guess(dense: bool) -> None:
    means = []
    for seed in range(60):
        try:
            means.append(frame_map(*tables(noise=99.0, dense=dense, frames=1 + seed % 4, seed=seed), IDS).mean)
        except ValueError as error:
            assert "have a class in common" in str(error)  # noqa: PT017
    assert len(means) > 20
    assert dense or min(means) < 0.1


def test_tables_obey_the_rules_of_files() -> None:
    truth, found = tables(noise=0.1, dense=False)
    wrong = {
        "pixels": (truth, dataclasses.replace(found, boxes=found.boxes * 320), "the detections: row 0: .*not pixels"),
        "truth in pixels": (
            dataclasses.replace(truth, boxes=truth.boxes * 320),
            found,
            "the ground truth: row 0: .*not p",
        ),
        "id 0": (truth, dataclasses.replace(found, action=found.action * 0), "must be in 1 … 80"),
        "nothing": (truth, dataclasses.replace(found, **{n: getattr(found, n)[:0] for n in COLUMNS}), "no box in it"),
        "short": (truth, dataclasses.replace(found, score=found.score[1:]), "columns must have shapes"),
    }
    for known, given, message in wrong.values():
        with pytest.raises(ValueError, match=message):
            frame_map(known, given, IDS)


@pytest.mark.parametrize("classes", [{}, {0: "sit", 1: "stand"}, {"sit": 1}, {1.5: "sit"}])
def test_label_maps_count_from_1(classes: dict) -> None:
    with pytest.raises(ValueError, match=r"label_map must be id -> name with ids from 1.*got \{"):
        frame_map(*tables(noise=0.1, dense=False), classes)


def test_a_list_of_names_is_no_label_map() -> None:
    """Fails when its kind is not looked at: a TypeError says that a path was expected."""
    with pytest.raises(ValueError, match=r"label_map must map ids to names, got a list of length 1: dict\(enumerate"):
        frame_map(*tables(noise=0.1, dense=False), ["sit"])


def test_a_detector_that_finds_nothing_right_has_zero(tmp_path: Path) -> None:
    result = frame_map(write(tmp_path, "g", f"a,1,{BOX},7,0"), write(tmp_path, "d", f"a,1,{OTHER},7,0.5"), CLASSES)
    assert result.mean == 0
    assert math.isnan(result.per_class["bend"])


def test_longer_lists_than_avas(tmp_path: Path) -> None:
    truth, found = write(tmp_path, "g", f"a,1,{BOX},700,0"), write(tmp_path, "d", f"a,1,{BOX},700,0.5")
    assert frame_map(truth, found, {700: "juggle"}).mean == 1


def test_the_order_of_videos_does_not_matter(tmp_path: Path) -> None:
    """Scores are all different here, so nothing else may decide."""
    draw = random.Random(0)
    truth = [f"v{n % 5},{900 + n // 5},{BOX if draw.random() < 0.5 else OTHER},7,0" for n in range(40)]
    found = [f"v{n % 5},{900 + n // 5},{BOX},7,{0.001 * n + 0.1}" for n in range(40)]
    first = frame_map(write(tmp_path, "g", *truth), write(tmp_path, "d", *found), CLASSES)
    draw.shuffle(truth)
    draw.shuffle(found)
    assert frame_map(write(tmp_path, "g", *truth), write(tmp_path, "d", *found), CLASSES).mean == first.mean
    assert 0 < first.mean < 1
