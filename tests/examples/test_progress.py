"""The progress of a stage in a log file."""

import pytest

from examples.d3d import progress


def test_a_log_file_gets_a_line_for_each_tenth(capsys) -> None:
    """Fails when every item prints, as a bar that no terminal shows."""
    shown = progress.bar(range(200), desc="teacher", unit="step")
    assert list(shown) == list(range(200))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[4].startswith("teacher: 50 % of 200 steps, 0:00 left")


def test_the_time_left_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when the pace is that of all items, or an hour is cut off."""
    monkeypatch.setattr(progress.time, "monotonic", lambda: 130.0)
    assert progress.left(100.0, 10, 25) == "1:15"
    assert progress.left(100.0, 10, 2500) == "125:00"


def test_batches_are_spelled(capsys) -> None:
    list(progress.bar(range(10), desc="scores"))
    assert "10 % of 10 batches, " in capsys.readouterr().err


def test_a_stage_that_continues(capsys) -> None:
    with progress.bar(total=100, initial=95, desc="D3D", unit="step") as shown:
        for _ in range(5):
            shown.set_postfix({"loss": "0.5"}, refresh=False)
            shown.update()
    assert capsys.readouterr().err == "D3D: 100 % of 100 steps, 0:00 left, loss 0.5\n"
