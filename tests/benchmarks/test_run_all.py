"""All tables with one command."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import run_all
from benchmarks.tables import running, scripts
from tests.benchmarks.fakes import Counting, table, without_machine


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Only table6, which is measured at once, and a script of its own kind."""
    measure = Counting()
    without_machine(monkeypatch)
    found = {"table6": SimpleNamespace(TABLE=table(measure)), "table4": SimpleNamespace()}
    monkeypatch.setattr(scripts, "modules", lambda: {name: f"benchmarks.{name}_x" for name in found})
    monkeypatch.setattr(scripts, "load", lambda name: found[name])
    monkeypatch.setattr(run_all.claims, "write", lambda scale, folder: None)
    return measure


def places(folder: Path) -> list[str]:
    return ["--results", str(folder / "results"), "--work-dir", str(folder / "runs")]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"unknown table or figure 'table9'; there are table1, table2, .*, figure4"):
        run_all.main(["--only", "table6", "table9"])


def test_the_scripts_are_found_in_the_papers_order() -> None:
    known = list(scripts.modules())
    assert [name for name in known if name not in ("table4", "table5")] == [
        *("table1", "table2", "table3", "table6", "table7", "table8", "figure3", "figure4")
    ]


def test_only_what_is_asked_for_is_run(measure: Counting, tmp_path: Path) -> None:
    run_all.main([*places(tmp_path), "--only", "table6", "--seeds", "1"])
    assert {seed for _, seed in measure.asked} == {1}


def test_a_script_that_is_no_table_is_called(measure: Counting, tmp_path: Path, monkeypatch) -> None:
    called = []

    def call(command, check):
        called.append(command)
        return SimpleNamespace(returncode=int(len(called) > 1))

    monkeypatch.setattr(subprocess, "run", call)
    run_all.main([*places(tmp_path), "--only", "table4", "--seeds", "1", "2"])
    assert called[0][:3] == [sys.executable, "-m", "benchmarks.table4_x"]
    given = running.parser(None).parse_args(called[0][3:])
    assert (given.scale, given.results, given.seeds) == ("pocket", tmp_path / "results", [1, 2])
    with pytest.raises(SystemExit, match="table4"):
        run_all.main([*places(tmp_path), "--only", "table4"])


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
    assert [command[command.index("--seeds") + 1 :] for command in started] == [["0", "2"], ["1"]]
    assert all(command[1:4] == ["-m", "benchmarks.run_all", "--worker"] for command in started)
    assert all("--workers" not in command for command in started)
    options = run_all.parser().parse_args(started[0][3:])
    assert (options.only, options.results, options.worker) == (["table6"], tmp_path / "results", True)
    assert len(prepared) == 1
    assert len(measure.asked) == 9


def test_a_worker_that_fails_is_told(measure: Counting, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(run_all, "_prepare", lambda *_: None)
    monkeypatch.setattr(subprocess, "Popen", lambda command: SimpleNamespace(wait=lambda: 9))
    with pytest.raises(SystemExit, match="a worker ended with 9"):
        run_all.main([*places(tmp_path), "--only", "table6", "--workers", "2", "--seeds", "0"])
