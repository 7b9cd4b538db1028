"""The paper's numbers, and the rows of all tables that we run."""

import json
from pathlib import Path

import pytest

from benchmarks.paper.tables import paper_numbers, scripts
from benchmarks.paper.tables.table import EPE, Row, Table

OURS = ("table1", "table2", "table3", "table6", "table7", "table8", "figure3", "figure4")


def test_the_numbers_are_those_of_the_paper(shared: Path) -> None:
    assert paper_numbers.tables() == json.loads((shared / "paper" / "tables.json").read_text())


@pytest.mark.parametrize("name", OURS)
def test_every_row_of_the_paper_is_a_row_of_ours(name: str) -> None:
    table: Table = scripts.load(name).TABLE
    assert table.name == name
    assert paper_numbers.caption(name)
    known = [json.dumps(paper_numbers.row(name, row.paper)) for row in table.rows if row.paper]
    rows = [json.dumps(row) for row in paper_numbers.tables()[name].get("rows", [])]
    assert sorted(known) == sorted(rows)
    for row in table.rows:
        fields = paper_numbers.row(name, row.paper) if row.paper else {}
        numbers = {value for value in fields.values() if _number(value)}
        assert set(table.published(row).values()) == numbers


def _number(value: object) -> bool:
    return isinstance(value, float)


@pytest.mark.parametrize("name", OURS)
def test_a_row_that_we_can_run_has_what_it_needs(name: str) -> None:
    table: Table = scripts.load(name).TABLE
    assert [row.name for row in table.rows if not row.of] == (
        [row.name for row in table.rows[:5]] if name == "table2" else []
    )
    assert all(row.of for row in table.rows if row.claim)


def test_rows_are_found_by_all_their_fields() -> None:
    assert paper_numbers.row("table2", {"method": "I3D", "modality": "Flow"})["full"] == 63.9
    for which, count in (({"method": "I3D"}, 3), ({"method": "D4D"}, 0), ({"metod": None}, 0)):
        with pytest.raises(ValueError, match=f"one row of table2 must be .*, got {count} of"):
            paper_numbers.row("table2", which)


def test_names_of_rows_are_unique() -> None:
    with pytest.raises(ValueError, match="table1"):
        Table("table1", "", EPE, (Row("a"), Row("a")), measure=lambda *_: None)
