"""The notebook runs from its first cell to its last, and holds no output that nobody computed."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "first_distillation.ipynb"


def cells() -> list[dict[str, Any]]:
    return [one for one in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if one["cell_type"] == "code"]


def test_the_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Fails when a name that the notebook uses is renamed, or the teacher no longer helps its student."""
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, cell in enumerate(cells()):
        exec(compile("".join(cell["source"]), f"<cell {number}>", "exec"), names)
    assert "teacher" in capsys.readouterr().out
    assert names["results"]["distilled student"] > names["results"]["student alone"]


def test_no_output_is_kept() -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())
