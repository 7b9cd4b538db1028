"""The committed records, rendered by today's code, are the committed tables."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import record
from benchmarks.paper import claims, flow_ways, rounding, ut_interaction_record
from benchmarks.paper.tables import flags, rendering, scripts
from benchmarks.paper.tables.records import RecordFile
from benchmarks.paper.tables.scales import SCALES
from examples.d3d import report
from kdvideo.data import synthetic

TABLES = sorted(path.stem for kind in ("table", "figure") for path in record.FOLDER.glob(f"{kind}*.json"))
OTHERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "demo": report.table,
    "flow_ways": flow_ways.render,
    "ut_interaction": ut_interaction_record.render,
    "claims_pocket": claims.render,
    "claims_shortcut": claims.render,
    "rounding_pocket": rounding.render,
    "claims_more_clips": claims.render,
}


def committed(name: str) -> str:
    return (record.FOLDER / f"{name}.md").read_text()


def known(name: str) -> dict[str, Any]:
    return json.loads((record.FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_that_of_its_record(name: str) -> None:
    which, scale = name.split("_", 1)
    options = flags.parser(None).parse_args(["--scale", scale, "--render"])
    table = scripts.table(which, SCALES[scale], options)
    assert rendering.document(table, RecordFile(table, SCALES[scale], record.FOLDER).read()) == committed(name)


def test_every_record_of_the_paper_is_rendered_here() -> None:
    assert len(TABLES) >= 11
    found = sorted(path.stem for path in record.FOLDER.glob("claims_*.json"))
    assert found == ["claims_more_clips", "claims_pocket", "claims_shortcut"]


@pytest.mark.parametrize("name", OTHERS)
def test_another_page_is_that_of_its_record(name: str) -> None:
    assert OTHERS[name](known(name)) == committed(name)


@pytest.mark.parametrize("scale", ["pocket", "shortcut", "more_clips"])
def test_the_claims_follow_from_the_records(scale: str) -> None:
    found = claims.result(SCALES[scale], record.FOLDER)
    assert json.loads(json.dumps(found)) == known(f"claims_{scale}")


@pytest.mark.parametrize("name", TABLES)
def test_a_record_is_continued_with_today_s_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of a record are those of its scale, and its rows measure what the table's rows do."""
    monkeypatch.setattr(synthetic, "write_dataset", lambda root, **_: root)
    which, scale = name.split("_", 1)
    options = flags.parser(None).parse_args(["--scale", scale])
    table = scripts.table(which, SCALES[scale], options)
    (draw,) = SCALES[scale].draws(table.part, (0,), options, None)
    file = RecordFile(table, SCALES[scale], record.FOLDER)
    file.check(draw.lab)
    measured = [row for row in table.rows if row.name in file.read()["rows"]]
    assert measured
    assert all(file.missing([draw], row.name) == [] for row in measured)
