"""All tables with one command."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.paper import run_all
from benchmarks.paper.tables import flags, running, scripts
from benchmarks.paper.tables.table import Row
from tests.benchmarks.fakes import Counting, table, without_machine


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Only table6, which is measured at once, and a script that makes its table."""
    measure = Counting()
    without_machine(monkeypatch)
    rows = (Row("MARS", ("mars",)),)
    made = SimpleNamespace(table=lambda *_: table(measure, name="table4", rows=rows, paper_columns={}))
    found = {"table6": SimpleNamespace(TABLE=table(measure)), "table4": made}
    monkeypatch.setattr(scripts, "modules", lambda: {name: f"benchmarks.{name}_x" for name in found})
    monkeypatch.setattr(scripts, "load", lambda name: found[name])
    monkeypatch.setattr(run_all.claims, "write", lambda scale, folder: None)
    monkeypatch.setattr(run_all.claims, "power", lambda scale, folder, names: f"pilot of {names}")
    return measure


def places(folder: Path) -> list[str]:
    return ["--results", str(folder / "results"), "--work-dir", str(folder / "runs")]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"must be one of table1, table2, .*, figure4, got 'table9'"):
        run_all.main(["--only", "table6", "table9"])


def test_the_scripts_are_found_in_the_papers_order() -> None:
    known = list(scripts.modules())
    assert known == [*(f"table{number}" for number in range(1, 9)), "figure3", "figure4"]


def test_only_what_is_asked_for_is_run(measure: Counting, tmp_path: Path) -> None:
    run_all.main([*places(tmp_path), "--only", "table6", "--seeds", "1"])
    assert {seed for _, seed in measure.asked} == {1}


def test_a_table_that_is_made_for_the_command_line(measure: Counting, tmp_path: Path) -> None:
    run_all.main([*places(tmp_path), "--only", "table4", "--seeds", "1"])
    assert (tmp_path / "results" / "table4_pocket.json").exists()
    assert {seed for _, seed in measure.asked} == {1}


def test_workers_share_the_seeds_and_the_rest_is_done_here(measure: Counting, tmp_path: Path, monkeypatch) -> None:
    started = []

    class Worker:
        def __init__(self, command: list[str]) -> None:
            started.append(command)

        def wait(self) -> int:
            return 0

    prepared = []
    monkeypatch.setattr(run_all, "_prepare", lambda tables, scale, options: prepared.append(tables))
    monkeypatch.setattr(subprocess, "Popen", Worker)
    run_all.main([*places(tmp_path), "--only", "table6", "--workers", "2", "--seeds", "0", "1", "2"])
    assert all(command[1:3] == ["-m", "benchmarks.paper.run_all"] for command in started)
    options = [flags.parser_of_all(None).parse_args(command[3:]) for command in started]
    assert [one.worker for one in options] == [[0, 2], [1]]
    assert {(*one.only, one.results) for one in options} == {("table6", tmp_path / "results")}
    assert len(prepared) == 1
    assert len(measure.asked) == 9


def test_a_worker_measures_its_seeds_and_starts_none(measure: Counting, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    drawn = []
    monkeypatch.setattr(running, "finish", lambda *given: drawn.append(given))
    given = ["--only", "table6", "--workers", "2", "--seeds", "0", "1", "2", "--worker", "1"]
    run_all.main([*places(tmp_path), *given])
    assert {seed for _, seed in measure.asked} == {1}
    assert not drawn


def test_a_worker_that_fails_is_told(measure: Counting, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(run_all, "_prepare", lambda *_: None)
    monkeypatch.setattr(subprocess, "Popen", lambda command: SimpleNamespace(wait=lambda: 9))
    with pytest.raises(SystemExit, match="a worker ended with 9"):
        run_all.main([*places(tmp_path), "--only", "table6", "--workers", "2", "--seeds", "0"])


def test_a_command_names_no_folder_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.sys, "argv", ["x", "--work-dir", "/somewhere/runs", "--worker", "3"])
    running.environment.cache_clear()
    command = running.environment(1)["command"]
    running.environment.cache_clear()
    assert command.endswith(" --work-dir runs")
