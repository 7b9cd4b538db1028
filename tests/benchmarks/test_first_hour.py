"""The walk through the page of the first hour: one shell, a time for each command, an end at the first that fails."""

from pathlib import Path

from benchmarks import first_hour

PAGE = """
Text.

    mkdir ADDRESS && cd ADDRESS
    touch here && test -e here    # as in the folder that the line before entered
    test -e nowhere
    touch /never
"""


def test_commands_share_a_shell_and_the_first_failure_ends_the_walk() -> None:
    """Fails when every command has a shell of its own, or the walk goes on after a failure."""
    steps = first_hour.walk(PAGE, "a folder")
    assert [step["status"] for step in steps] == [0, 0, 1]
    assert steps[0]["command"] == "mkdir ADDRESS && cd ADDRESS"
    assert all(0 <= step["seconds"] < 60 for step in steps)


def test_a_failure_is_shown(monkeypatch) -> None:
    """Fails when the table hides that a command failed, or a time of minutes is shown in seconds."""
    monkeypatch.setattr(first_hour.markdown, "where", lambda result: "*here*")
    steps = [{"command": "one", "seconds": 61.2, "status": 0}, {"command": "two", "seconds": 2.0, "status": 3}]
    shown = first_hour.render({"steps": steps})
    assert "| `one` | 1 min 1 s |\n| `two` | 2.0 s |\n| all of it, without the reading | 1 min 3 s |" in shown
    assert "**`two` failed.**" in shown


def test_the_page_starts_with_a_clone() -> None:
    """Fails when the page's commands are no longer found."""
    found = first_hour.COMMANDS.findall(Path(first_hour.PAGE).read_text())
    assert found[0].startswith("git clone ADDRESS kdvideo")
    assert len(found) > 10
