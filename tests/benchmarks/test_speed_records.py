"""Every committed speed record renders to the Markdown committed beside it; and the helpers that render it."""

import argparse
import json
from functools import partial

import pytest

from benchmarks import flow_free, markdown, record
from benchmarks.speed import (
    chunked_kl,
    core,
    export,
    extraction,
    features,
    frame_map,
    int8,
    networks,
    reading,
    startup,
    streaming,
    teacher,
)
from benchmarks.speed.flow_parts import flow_tables
from benchmarks.speed.network_parts import network_tables

RENDERERS = {
    "speed_chunked_kl": chunked_kl.markdown,
    "speed_core": core.markdown,
    "speed_extraction": extraction.markdown,
    "speed_teacher": teacher.markdown,
    "speed_features": features.markdown,
    "speed_flow": flow_tables.markdown,
    "speed_reading": reading.markdown,
    "speed_startup": startup.markdown,
    "speed_streaming": streaming.markdown,
    "speed_models": network_tables.markdown,
    "speed_export": export.markdown,
    "speed_int8": int8.markdown,
    "flow_free": flow_free.markdown,
    "speed_frame_map": frame_map.markdown,
    "networks": partial(networks.markdown, speeds=networks.clips_per_second()),
}


def test_every_record_has_a_renderer():
    assert {path.stem for path in record.FOLDER.glob("speed_*.json")} <= set(RENDERERS)


@pytest.mark.parametrize("name", RENDERERS)
def test_the_committed_table_is_rendered_from_the_committed_record(name):
    known = json.loads((record.FOLDER / f"{name}.json").read_text())
    assert RENDERERS[name](known) == (record.FOLDER / f"{name}.md").read_text()


def test_a_part_without_a_record_is_not_run():
    parts = {"a": ("First", lambda result: [str(result)]), "b": ("Second", str)}
    about = {"hardware": "a CPU", "threads": 2, "versions": {"torch": "2"}, "date": "today", "command": "python x"}
    text = markdown.document({"a": {"result": 1, "environment": about}}, parts)
    machine = "*a CPU, 2 threads; torch 2; today; `python x`*"
    assert text == f"### First\n\n1\n\n{machine}\n\n### Second\n\nNot run.\n"


def test_table():
    assert markdown.table(["", "top-1"], [("D3D", "1"), ["MARS", ""]]) == [
        "| | top-1 |",
        "|---|---|",
        "| D3D | 1 |",
        "| MARS |  |",
    ]
    assert markdown.table(["a"], []) == ["| a |", "|---|"]
    with pytest.raises(ValueError, match="2 cells, one for each heading, got 3: 'xyz'"):
        markdown.table(["a", "b"], ["xyz"])


def test_a_record_is_written_with_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(record, "FOLDER", tmp_path / "results")
    record.update("x", "one", {"value": 1}, lambda result: f"{result}\n")
    record.update("x", "two", {"value": 2}, lambda result: f"{result}\n")
    both = {"one": {"value": 1}, "two": {"value": 2}}
    assert (tmp_path / "results" / "x.json").read_text() == json.dumps(both, indent=1) + "\n"
    assert (tmp_path / "results" / "x.md").read_text() == f"{both}\n"
    assert str(both) in capsys.readouterr().out
    assert len(list((tmp_path / "results").iterdir())) == 2


def test_a_record_says_with_which_flags_it_was_made(tmp_path, monkeypatch):
    """Fails when the command is written without them: the record could not be made again."""
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["/anywhere/features.py", "--rounds", "3"])
    record.write_run("benchmarks.speed.features", {"value": 1}, str)
    written = json.loads((tmp_path / "speed_features.json").read_text())
    assert (written["benchmark"], written["value"]) == ("speed_features", 1)
    assert written["command"] == "python -m benchmarks.speed.features --rounds 3"
    assert written["threads"] == 1


def test_core_runs_and_renders():
    arguments = argparse.Namespace(rounds=2, networks=["micro", "deep"], peers=False)
    rows = {name: core.row(core.measure(core.SUBJECTS[name], 2)) for name in arguments.networks}
    text = core.markdown(core.report(rows, arguments))
    assert "median of 2 interleaved rounds" in text
    assert "| step through | micro network, 10 modules | 168 modules of 16 units |" in text


@pytest.mark.parametrize(("peer", "module"), [("torchdistill", "torchdistill"), ("ModelOpt", "modelopt.torch.distill")])
def test_core_runs_the_step_of_a_peer_with_the_same_losses(peer: str, module: str):
    pytest.importorskip(module, reason=f"{peer} is not installed")
    rows = {"micro": core.row(core.measure(core.SUBJECTS["micro"], 2, [peer]))}
    found = core.report(rows, argparse.Namespace(rounds=2, networks=list(core.SUBJECTS), peers=True))
    assert f"| {peer} " in core.markdown(found)
    assert found["command"].endswith("core --peers")
