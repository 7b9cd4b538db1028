"""Measuring row by row: nothing twice, nothing lost."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import MARS
from benchmarks.paper.tables import running
from benchmarks.paper.tables.records import RecordFile, settings, values
from benchmarks.paper.tables.scales import SCALES, Scale
from benchmarks.paper.tables.table import Measured, Row
from tests.benchmarks.fakes import ENVIRONMENT, Counting, options, table, without_machine

POCKET = SCALES["pocket"]


@pytest.fixture(autouse=True)
def _known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    without_machine(monkeypatch)


def record(folder: Path) -> dict:
    return json.loads((folder / "results" / "table6_pocket.json").read_text())


def test_a_second_run_measures_nothing(tmp_path: Path) -> None:
    measure = Counting()
    for _ in range(2):
        assert running.run([table(measure)], options(tmp_path, "--seeds", "0", "1")) == []
    rows = ("S3D-G spatial stream", "D3D", "MARS")
    assert measure.asked == [(row, seed) for row in rows for seed in (0, 1)]
    running.run([table(measure)], options(tmp_path, "--seeds", "1", "2"))
    assert measure.asked[6:] == [(row, 2) for row in rows]


def test_the_record_says_everything(tmp_path: Path) -> None:
    running.run([table(Counting())], options(tmp_path, "--seeds", "0", "1"))
    found = record(tmp_path)
    assert list(found["rows"]) == ["S3D-G spatial stream", "D3D", "MARS"]
    d3d = found["rows"]["D3D"]
    assert (d3d["mean"], d3d["standard_error"]) == (80.5, pytest.approx(0.5))
    steps = POCKET.config.optimizer.steps
    entry = {"value": 81.0, "steps": steps, "per_class": {"spin": 50.0, "orbit": 90.0}, "environment": 0}
    assert d3d["seeds"]["1"] == entry | {"trainings": None}
    assert found["environments"] == [ENVIRONMENT]
    assert found["settings"]["optimizer"]["steps"] == steps
    assert "synthetic" in found["data"]
    assert (tmp_path / "results" / "table6_pocket.md").read_text().count("80.5 ± 0.5") == 1


def test_rows_without_a_claim_have_fewer_seeds(tmp_path: Path) -> None:
    measure = Counting()
    running.run([table(measure)], options(tmp_path))
    assert [seed for row, seed in measure.asked if row == "D3D"] == list(POCKET.seeds)
    assert [seed for row, seed in measure.asked if row == "MARS"] == [0, 1, 2]
    running.run([table(measure)], options(tmp_path, "--every"))
    assert [seed for row, seed in measure.asked if row == "MARS"] == list(POCKET.seeds)


def test_stopped_in_the_middle_it_goes_on_there(tmp_path: Path) -> None:
    measure = Counting()

    def stopping(row, lab, seed):
        if len(measure.asked) == 3:
            raise KeyboardInterrupt
        return measure(row, lab, seed)

    with pytest.raises(KeyboardInterrupt):
        running.run([table(stopping)], options(tmp_path, "--seeds", "0", "1"))
    assert values(record(tmp_path), "D3D") == {"0": 80.0}
    running.run([table(measure)], options(tmp_path, "--seeds", "0", "1"))
    assert len(measure.asked) == len(set(measure.asked)) == 6


def test_a_row_that_fails_stops_no_other(tmp_path: Path) -> None:
    measure = Counting()
    measure.broken = {("D3D", 0)}
    assert running.run([table(measure)], options(tmp_path, "--seeds", "0", "1")) == [
        "table6, D3D, seed 0: loss nan at step 3"
    ]
    assert values(record(tmp_path), "D3D") == {"1": 81.0}
    assert values(record(tmp_path), "MARS") == {"0": 75.0, "1": 76.0}
    places = ["--results", str(tmp_path / "results"), "--work-dir", str(tmp_path), "--seeds", "0"]
    with pytest.raises(SystemExit, match="D3D, seed 0: loss nan"):
        running.main(table(measure), None, places)


def test_values_of_other_settings_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running.run([table(Counting())], options(tmp_path, "--seeds", "0"))
    shorter = dataclasses.replace(POCKET.config.optimizer, steps=10)
    config = dataclasses.replace(POCKET.config, optimizer=shorter)
    monkeypatch.setitem(SCALES, "pocket", dataclasses.replace(POCKET, config=config))
    with pytest.raises(ValueError, match=r"optimizer\.steps 1000, not 10"):
        running.run([table(Counting())], options(tmp_path, "--seeds", "1"))


def test_a_setting_that_was_added_later_is_no_difference(tmp_path: Path) -> None:
    file = RecordFile(table(Counting()), POCKET, tmp_path)
    older = settings(POCKET.config)
    del older["optimizer"]["warmup"], older["class_reduction"]
    file.note("settings", older)
    file.check(Lab(dataclasses.replace(POCKET.config, work_dir=tmp_path, num_workers=3), None))


def test_two_writers_of_one_record_lose_nothing(tmp_path: Path) -> None:
    files = [RecordFile(table(Counting()), POCKET, tmp_path) for _ in range(2)]
    draws = POCKET.draws("kinetics400", (0, 1), options(tmp_path), None)
    for file, draw in zip(files, draws, strict=True):
        file.add("D3D", draw, Counting()(file.table.row("D3D"), draw.lab, draw.seed), ENVIRONMENT)
    assert values(files[0].read(), "D3D") == {"0": 80.0, "1": 81.0}
    assert files[0].missing(draws, "MARS") == draws


def test_a_picture_is_drawn_when_all_its_rows_have_values(tmp_path: Path) -> None:
    drawn = []

    def picture(record, lab, seed, path):
        drawn.append((list(record["rows"]), seed, path.name))

    measure = Counting()
    measure.broken = {("MARS", 2)}
    running.run([table(measure, picture=picture)], options(tmp_path, "--seeds", "2", "1"))
    assert drawn == []
    measure.broken = set()
    running.run([table(measure, picture=picture)], options(tmp_path, "--seeds", "2", "1"), pictures=False)
    assert drawn == []
    running.run([table(measure, picture=picture)], options(tmp_path, "--seeds", "2", "1"))
    assert drawn == [(["S3D-G spatial stream", "D3D", "MARS"], 2, "table6_pocket.png")]
    assert "img/table6_pocket.png" in (tmp_path / "results" / "table6_pocket.md").read_text()


def test_render_measures_nothing(tmp_path: Path) -> None:
    measure = Counting()
    running.run([table(measure)], options(tmp_path, "--render"))
    assert not measure.asked
    assert (tmp_path / "results" / "table6_pocket.md").read_text().count("| not run |") == 3
    assert not list(tmp_path.glob("results/*.json"))


def test_a_scale_without_the_data_of_a_table_leaves_it_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Scale("pocket", POCKET.config, {"kinetics400": POCKET.data["kinetics400"]}, (0,))
    monkeypatch.setitem(SCALES, "pocket", small)
    measure = Counting()
    running.run([table(measure, part="kinetics600")], options(tmp_path))
    assert not measure.asked
    assert not (tmp_path / "results").exists()


def test_writers_at_the_same_time_wait_for_each_other(tmp_path: Path) -> None:
    flags = options(tmp_path)
    draws = POCKET.draws("kinetics400", range(8), flags, None)

    def write(draw) -> None:
        file = RecordFile(table(Counting()), POCKET, tmp_path)
        file.add("D3D", draw, Measured(float(draw.seed), 1), {"command": draw.key})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, draws))
    found = RecordFile(table(Counting()), POCKET, tmp_path).read()
    assert sorted(values(found, "D3D").values()) == [float(k) for k in range(8)]
    entries = found["rows"]["D3D"]["seeds"]
    assert all(found["environments"][entry["environment"]] == {"command": key} for key, entry in entries.items())
    assert [path.name for path in tmp_path.iterdir()] == ["table6_pocket.json"]


def test_a_row_of_another_method_is_not_continued(tmp_path: Path) -> None:
    measure = Counting()
    rows = (Row("MARS", (MARS,)),)
    running.run([table(measure, rows=rows, paper_columns={})], options(tmp_path, "--seeds", "0"))
    changed = (Row("MARS", (dataclasses.replace(MARS, end_to_end_rate=0.5),)),)
    with pytest.raises(ValueError, match="MARS was measured with another method"):
        running.run([table(measure, rows=changed, paper_columns={})], options(tmp_path, "--seeds", "1"))
    running.run([table(measure, rows=rows, paper_columns={})], options(tmp_path, "--seeds", "1"))
    assert len(measure.asked) == 2


def test_folds_of_a_seed_are_one_value() -> None:
    seeds = {f"fold {fold} seed {seed}": {"value": 10.0 * seed + fold} for seed in (1, 2) for fold in range(3)}
    del seeds["fold 2 seed 2"]
    assert values({"rows": {"D3D": {"seeds": seeds}}}, "D3D") == {"1": 11.0}


def test_two_kinds_of_published_clips_are_not_mixed(tmp_path: Path) -> None:
    given = options(tmp_path, "--scale", "paper", "--execute", "--train", "a", "--test", "b")
    with pytest.raises(ValueError, match="Tables 3 and 8 are on other clips"):
        running.run([table(Counting()), table(Counting(), part="kinetics600")], given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("junk", "must be the record of a table, got "),
        ("[]", "must be the record of a table, got "),
        ('{"rows": {}}', "must be the record of a table, got "),
        (
            '{"table": "table2", "scale": "pocket", "rows": {}}',
            "must hold finite values of table6 at scale pocket, got table2 at scale pocket",
        ),
        (
            '{"table": "table6", "scale": "pocket", "rows": {"D3D": {"seeds": {"0": {"value": "80"}}}}}',
            "must be the record of a table, got ",
        ),
    ],
)
def test_a_file_that_is_no_record_of_the_table_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = RecordFile(table(Counting()), POCKET, tmp_path)
    file.path.write_text(text)
    with pytest.raises(ValueError, match=f"table6_pocket.json {said}"):
        file.read()


@pytest.mark.parametrize("flag", ["--threads", "--seeds"])
def test_numbers_of_a_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        options(tmp_path, flag, *(["0"] if flag == "--threads" else []))
    assert flag in capsys.readouterr().err
